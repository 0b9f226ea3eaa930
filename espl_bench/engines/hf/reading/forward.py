"""Call a model's forward with the arguments that it has.

Models differ in how their forward names its cache, whether it counts positions itself, and whether it can leave the logits of some
columns out. `forward` hides that. They also differ in what may be read at once (`Reading`), which `hf.trial` finds out.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import inspect
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

_CACHE_NAMES = ("cache", "past_key_values", "cache_params")
"""Of the argument that takes a KV cache; transformers renamed it in 5.24, and recurrent models have a name of their own."""
TOLERANCE = {torch.float32: 2e-6, torch.float16: 5e-3, torch.bfloat16: 2e-2}
"""Mean |difference| of log-probabilities that rounding can explain, as a part of the largest logit (at least 1)."""
FAILURES = (AssertionError, AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What a model's own code raises where it is read in a way that it does not support."""


class Reading(Enum):
    """What may be read at once without changing any row's log-probabilities. Each member allows what the later ones do."""

    SHARED = "prefixes are read once"
    """Equal beginnings once, padding anywhere."""
    PADDED = "rows are read whole"
    """Padding before a prompt, where it is sampled, and behind a sequence, where it is trained."""
    EQUAL = "rows are never padded"
    """Rows of one length are sampled together, and trained one by one."""
    REREAD = "rows are read again for every token"
    """Without a cache, for models whose cached decoding is not what reading whole is. Slow."""


def forward(
    model: Any,
    ids_RT: Tensor,
    *,
    seen_RL: Tensor | None,
    position_RT: Tensor,
    cache: Cache | None,
    keep: Tensor | int,
    **others: Any,
) -> Tensor:
    """Read tokens; return the logits (R, S, V) of the columns to keep, or the inputs of an output layer that was taken out.

    Args:
        model: a causal LM of transformers, or one wrapped by peft.
        ids_RT: tokens.
        seen_RL: attention mask over the cached tokens and these, or one of four dimensions that is handed down; None: nothing is padded.
        position_RT: of the tokens.
        cache: has the tokens before, and takes these; None: there are none before, and none is kept.
        keep: columns, or the number of last columns.
        others: passed on.

    Raises:
        TypeError: the model has no argument for a cache.
    """
    known = inspect.signature(_base(model).forward).parameters
    passes_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    chosen = {"attention_mask": seen_RL, "position_ids": position_RT, "logits_to_keep": keep}
    arguments: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None and (passes_on or name in known)}
    if cache is not None:
        arguments[_cache_name(known)] = cache
    logits: Tensor = model(input_ids=ids_RT, use_cache=cache is not None, **arguments, **others).logits
    width = keep if isinstance(keep, int) else len(keep)
    if logits.shape[1] == width:
        return logits
    return logits[:, -width:] if isinstance(keep, int) else logits[:, keep]


def _cache_name(known: Any) -> str:
    name = next((name for name in _CACHE_NAMES if name in known), None)
    if name is None:
        raise TypeError("its forward has no argument for a cache")
    return name


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
