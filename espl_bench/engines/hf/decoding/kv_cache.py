"""KV caches of the rows of a running batch: the prefill, then one decode step at a time.

Where several rows continue one prompt and the model allows it, the prompt's keys and values are kept once (`hf.reading.attention`);
else every row has a copy. A model that has no use for a cache reads its rows again (`Reread`). On a GPU, decode steps may be captured
and replayed (`hf.decoding.static_cache`).
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import DynamicCache

from espl_bench.engines.hf.decoding.static_cache import StaticCache
from espl_bench.engines.hf.reading.attention import SharedPrompts
from espl_bench.engines.hf.reading.forward import Reading, forward
from espl_bench.engines.hf.reading.prefix_sharing import SplitPrompt, Tokens, forward_levels, prompt_levels, select_rows, split_prefixes

_KEEP = 0.75
"""Rows are dropped once fewer than this share of them are alive: dropping copies the whole KV cache."""


class _DropsSoon:
    """A memory for which it costs little to see which rows are alive, and to drop the others."""

    look_every = 1
    """Steps from one look at the rows that are alive to the next."""

    def sheds(self, alive: int, rows: int) -> bool:
        """Return True if it is worth it to keep only the rows that are alive."""
        return alive < _KEEP * rows


class KVCache(_DropsSoon):
    """The caches of B rows. Made by `prefill`."""

    def __init__(self, model: Any, cache: DynamicCache, seen_BL: Tensor, shared: SharedPrompts | None, room: int, padded: bool) -> None:
        """Take over a prefill.

        Args:
            model: a causal LM.
            cache: the rows' cache: with their prompts, or empty if these are ``shared``.
            seen_BL: attention mask over the cached tokens.
            shared: the prompts, if rows share them.
            room: tokens to come, per row.
            padded: False if no row is: then the model gets no mask, which some apply to the wrong columns.
        """
        self._model = model
        self._cache = cache
        self._padded = padded
        self._seen_BL = pad(seen_BL, (0, room), value=1)
        self._held = seen_BL.shape[1]
        self._shared = {"shared_prompts": shared} if shared is not None else {}

    def step(self, token_B1: Tensor, position_B1: Tensor) -> Tensor:
        """Read one token per row; return the logits after it, (B, V)."""
        self._held += 1
        seen_BL = self._seen_BL[:, : self._held] if self._padded else None
        logits = forward(self._model, token_B1, seen_RL=seen_BL, position_RT=position_B1, cache=self._cache, keep=1, **self._shared)
        return logits[:, -1]

    def select(self, index: Tensor) -> None:
        """Keep only these rows. ``index`` increases."""
        select_rows(self._cache, index)
        self._seen_BL = self._seen_BL[index]
        self._shared = {name: shared.select(index) for name, shared in self._shared.items()}


class Reread(_DropsSoon):
    """What KVCache is, for a model that decodes without one: every step reads all tokens of its rows again."""

    def __init__(self, model: Any, prompts_B: Sequence[Tokens], room: int) -> None:
        """Take over rows that no token has been sampled for; `room` tokens are to come per row."""
        self._model = model
        self._length_B = torch.tensor([len(prompt) for prompt in prompts_B], device=model.device)
        width = max(map(len, prompts_B)) + room
        self._ids_BL = torch.tensor([(*prompt, *(0,) * (width - len(prompt))) for prompt in prompts_B], device=model.device)

    def logits(self) -> Tensor:
        """Read all rows; return the logits after each, (B, V)."""
        last_B = self._length_B - 1
        column_L = torch.arange(int(last_B.max()) + 1, device=last_B.device)
        seen_BL = (column_L <= last_B[:, None]).long()
        keep_S, place_B = torch.unique(last_B, return_inverse=True)
        position_BL = column_L.expand(len(last_B), -1)
        ids_BL = self._ids_BL[:, : len(column_L)]
        logits_BSV = forward(self._model, ids_BL, seen_RL=seen_BL, position_RT=position_BL, cache=None, keep=keep_S)
        return logits_BSV[torch.arange(len(last_B), device=last_B.device), place_B]

    def step(self, token_B1: Tensor, position_B1: Tensor) -> Tensor:
        """Add one token per row, and read; return the logits after it, (B, V)."""
        self._ids_BL.scatter_(1, position_B1, token_B1)
        self._length_B = position_B1[:, 0] + 1
        return self.logits()

    def select(self, index: Tensor) -> None:
        """Keep only these rows."""
        self._ids_BL, self._length_B = self._ids_BL[index], self._length_B[index]


Memory = KVCache | StaticCache | Reread


def prefill(
    model: Any, prompts_B: Sequence[Tokens], room: int, *, share: bool, reading: Reading = Reading.SHARED, replay: bool = False
) -> tuple[Tensor, Memory]:
    """Read the prompts of a batch; equal prompts that are adjacent are read once, and so may be a beginning that several share.

    Args:
        model: a causal LM.
        prompts_B: one per row.
        room: tokens to come, per row.
        share: keep equal prompts once in memory, too; the model must have been adopted by `hf.reading.attention`.
        reading: what the model allows.
        replay: decode at fixed addresses, and with captured steps on a GPU; only where ``share`` may be.

    Returns:
        Logits after each prompt, (B, V), and the rows' memory.
    """
    if reading is Reading.REREAD:
        reread = Reread(model, prompts_B, room)
        return reread.logits(), reread
    unique: list[Tokens] = []
    index: list[int] = []
    for prompt in prompts_B:
        if not unique or unique[-1] != prompt:
            unique.append(prompt)
        index.append(len(unique) - 1)
    index_B = torch.tensor(index, device=model.device)
    cache = DynamicCache(config=model.config)
    cuts = split_prefixes(unique) if reading is Reading.SHARED else [SplitPrompt((), prompt) for prompt in unique]
    logits, seen_UL = forward_levels(model, prompt_levels(cuts, "left", model.device), cache)
    logits_BV, padded = logits[-1][index_B, -1], reading is not Reading.EQUAL
    if replay:
        return logits_BV, StaticCache(model, cache, seen_UL, index_B, room)
    if len(unique) == len(prompts_B):
        return logits_BV, KVCache(model, cache, seen_UL, None, room, padded)
    if share:
        shared = SharedPrompts.of(cache, seen_UL, index_B)
        return logits_BV, KVCache(model, DynamicCache(config=model.config), seen_UL[index_B, :0], shared, room, padded)
    select_rows(cache, index_B)
    return logits_BV, KVCache(model, cache, seen_UL[index_B], None, room, padded)
