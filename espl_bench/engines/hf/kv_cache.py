"""KV caches of the rows of a running batch: the prefill, then one decode step at a time.

Where several rows continue one prompt and the model allows it, the prompt's keys and values are kept once (`hf.attention`);
else every row has a copy.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache

from espl_bench.engines.hf.attention import SharedPrompts
from espl_bench.engines.hf.forward import forward
from espl_bench.engines.hf.prefix_sharing import SplitPrompt, Tokens, forward_levels, prompt_levels, select_rows, split_prefixes


class KVCache:
    """The caches of B rows. Made by `prefill`."""

    def __init__(self, model: Any, cache: DynamicCache, seen_BL: Tensor, shared: SharedPrompts | None, room: int) -> None:
        """Take over a prefill.

        Args:
            model: a causal LM.
            cache: the rows' cache: with their prompts, or empty if these are ``shared``.
            seen_BL: attention mask over the cached tokens.
            shared: the prompts, if rows share them.
            room: tokens to come, per row.
        """
        self._model = model
        self._cache = cache
        self._seen_BL = pad(seen_BL, (0, room), value=1)
        self._held = seen_BL.shape[1]
        self._shared = {"shared_prompts": shared} if shared is not None else {}

    def step(self, token_B1: Tensor, position_B1: Tensor) -> Tensor:
        """Read one token per row; return the logits after it, (B, V)."""
        self._held += 1
        seen_BL = self._seen_BL[:, : self._held]
        logits = forward(
            self._model, token_B1, seen_RL=seen_BL, position_RT=position_B1, cache=self._cache, keep=1, **self._shared
        )
        return logits[:, -1]

    def select(self, index: Tensor) -> None:
        """Keep only these rows. ``index`` increases."""
        select_rows(self._cache, index)
        self._seen_BL = self._seen_BL[index]
        self._shared = {name: shared.select(index) for name, shared in self._shared.items()}


def prefill(model: Any, prompts_B: Sequence[Tokens], room: int, *, share: bool, levels: bool = True) -> tuple[Tensor, KVCache]:
    """Read the prompts of a batch; equal prompts that are adjacent are read once, and so may be a beginning that several share.

    Args:
        model: a causal LM.
        prompts_B: one per row.
        room: tokens to come, per row.
        share: keep equal prompts once in memory, too; the model must have been adopted by `hf.attention`.
        levels: read a beginning that prompts share once; padding then stands between it and the rest.

    Returns:
        Logits after each prompt, (B, V), and the rows' KV cache.
    """
    unique: list[Tokens] = []
    index: list[int] = []
    for prompt in prompts_B:
        if not unique or unique[-1] != prompt:
            unique.append(prompt)
        index.append(len(unique) - 1)
    index_B = torch.tensor(index, device=model.device)
    cache = DynamicCache(config=model.config)
    cuts = split_prefixes(unique) if levels else [SplitPrompt((), prompt) for prompt in unique]
    logits, seen_UL = forward_levels(model, prompt_levels(cuts, "left", model.device), cache)
    logits_BV = logits[-1][index_B, -1]
    if len(unique) == len(prompts_B):
        return logits_BV, KVCache(model, cache, seen_UL, None, room)
    if share:
        shared = SharedPrompts.of(cache, seen_UL, index_B)
        return logits_BV, KVCache(model, DynamicCache(config=model.config), seen_UL[index_B, :0], shared, room)
    select_rows(cache, index_B)
    return logits_BV, KVCache(model, cache, seen_UL[index_B], None, room)
