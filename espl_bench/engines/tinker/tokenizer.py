"""Load the chat format and tokenizer of a model that is served elsewhere: only its small files, no weights."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from typing import Any

from transformers import AutoTokenizer, GenerationConfig

from espl_bench.engines.chat import HfChat
from espl_bench.errors import ModelError
from espl_bench.utils.model_folder import NO_CODE, refusal_of, refuse_unsafe


def load_chat(model: str) -> HfChat:
    """Load the chat of a folder or hub id; its generation config and its tokenizer define the ends of a turn.

    Raises:
        ModelError: the tokenizer cannot be loaded, or has no chat template.
    """
    name = model.partition(":")[0]  # a variant of the service's, e.g. of another context length
    refuse_unsafe(name)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(name, **NO_CODE)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        if refusal := refusal_of(name, error):
            raise ModelError(refusal) from error
        first = str(error).strip().partition("\n")[0].rstrip(".")
        raise ModelError(
            f"cannot load the tokenizer of '{name}': {first}; check the hub id and the network, or name a folder that the service knows too"
        ) from error
    return HfChat(tokenizer, frozenset(token for token in (*_configured(name), tokenizer.eos_token_id) if token is not None), name)


def _configured(model: str) -> tuple[int, ...]:
    """Return the end ids of the generation config; none if there is no such file."""
    try:
        ids: Any = GenerationConfig.from_pretrained(model, **NO_CODE).eos_token_id  # pyright: ignore[reportArgumentType]  # flags of every loader
    except OSError:
        return ()
    return tuple(ids) if isinstance(ids, list) else (() if ids is None else (ids,))
