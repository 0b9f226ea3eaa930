"""Read token sequences with common beginnings level by level, so that shared tokens are computed once.

The prompts of an iteration are few system messages before many problems, and the rollouts of a group share their whole prompt.
So sequences are cut into levels. Each row of a level continues one row of the level before, through the KV cache: *shared*
prefixes of several prompts, then *suffixes* (the remainder of each different prompt), then, in training, what a trajectory adds
to its prompt. A row may be continued many times, or not at all. The rows of a level are padded to one width; padding is masked,
and positions do not count it.

(Cutting at levels instead of at every branching gives most of the benefit of a prefix tree in a few lines.)
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from espl_bench.engines.hf.reading.forward import forward

Tokens = tuple[int, ...]

WORTH = 64
"""Tokens, padding included, that another level must save: it costs another pass through the model."""


class SplitPrompt(NamedTuple):
    """A prompt in two parts: a prefix it may share with others, and its suffix."""

    shared: Tokens
    suffix: Tokens


@dataclass(frozen=True, slots=True)
class Level:
    """R rows of at most T tokens."""

    ids_RT: Tensor
    seen_RT: Tensor
    """1 where a token is, 0 on padding."""
    position_RT: Tensor
    index_R: Tensor
    """Row of the previous level that each row continues; unused in a first level."""
    keep: Tensor | int
    """Columns whose logits are needed, or the number of last columns."""


def level(
    rows: Sequence[Tokens],
    starts: Sequence[int],
    index: Sequence[int],
    device: torch.device,
    *,
    padding: Literal["left", "right"] = "right",
    keep: Tensor | int = 1,
) -> Level:
    """Pad the rows; ``starts`` are the positions of their first tokens."""
    width = max(map(len, rows))
    length_R1 = torch.tensor([[len(row)] for row in rows])
    first_R1 = width - length_R1 if padding == "left" else torch.zeros_like(length_R1)
    offset_RT = torch.arange(width) - first_R1
    blanks = [(0,) * (width - len(row)) for row in rows]
    ids = [(*blank, *row) if padding == "left" else (*row, *blank) for row, blank in zip(rows, blanks, strict=True)]
    return Level(
        ids_RT=torch.tensor(ids).to(device),
        seen_RT=((offset_RT >= 0) & (offset_RT < length_R1)).long().to(device),
        position_RT=(torch.tensor(starts)[:, None] + offset_RT.clamp(min=0)).to(device),
        index_R=torch.tensor(index).to(device),
        keep=keep if isinstance(keep, int) else keep.to(device),
    )


def prompt_levels(prompts: Sequence[SplitPrompt], padding: Literal["left", "right"], device: torch.device) -> tuple[Level, ...]:
    """Build levels of shared prefixes and suffixes, or of suffixes alone if nothing is shared.

    Args:
        prompts: all with a shared prefix or all without; the rows of the last level are in this order.
        padding: the side on which the last level is padded; shared prefixes are padded on the right.
        device: where to put the tensors.
    """
    shared: dict[Tokens, int] = {}
    index = [shared.setdefault(prompt.shared, len(shared)) for prompt in prompts]
    suffixes = level([prompt.suffix for prompt in prompts], [len(prompt.shared) for prompt in prompts], index, device, padding=padding)
    if not any(shared):
        return (suffixes,)
    return level(list(shared), [0] * len(shared), [0] * len(shared), device), suffixes


def split_prefixes(prompts: Sequence[Tokens]) -> list[SplitPrompt]:
    """Cut prompts so that the fewest tokens are read in all. Every prompt keeps at least its last token as its suffix.

    Nothing is shared unless this at least halves the tokens (and saves `WORTH` of them). In lexicographic order, prompts that
    share a beginning are adjacent. So the sorted list is cut into runs; a run of n prompts that share m tokens saves (n - 1) m,
    and dynamic programming finds the best runs.
    """
    order = sorted(range(len(prompts)), key=prompts.__getitem__)
    common = [_common(prompts[a], prompts[b]) for a, b in pairwise(order)]
    most = [max(len(prompts[index]) - 1, 0) for index in order]
    best = [_Run(0, 0, 0)]
    for stop in range(1, len(order) + 1):
        best.append(max(_last_runs(stop, most, common, best)))
    if 2 * best[-1].saved < sum(map(len, prompts)) or best[-1].saved < WORTH or not all(most):
        return [SplitPrompt((), prompt) for prompt in prompts]
    cuts = [SplitPrompt((), ())] * len(prompts)
    stop = len(order)
    while stop:
        run = best[stop]
        for index in order[run.start : stop]:
            cuts[index] = SplitPrompt(prompts[index][: run.shared], prompts[index][run.shared :])
        stop = run.start
    return cuts


class _Run(NamedTuple):
    """The last run of the first n prompts, if these are cut optimally."""

    saved: int
    """Tokens saved by all runs together."""
    start: int
    shared: int


def _last_runs(stop: int, most: Sequence[int], common: Sequence[int], best: Sequence[_Run]) -> Iterator[_Run]:
    """Yield all runs that end before ``stop``. ``most`` is each prompt's longest prefix; only a run's first can be its limit."""
    yield _Run(best[stop - 1].saved, stop - 1, most[stop - 1])
    shared = sys.maxsize
    for start in range(stop - 2, -1, -1):
        shared = min(shared, common[start])
        if shared == 0:
            return
        prefix = min(shared, most[start])
        yield _Run(best[start].saved + (stop - start - 1) * prefix, start, prefix)


def _common(a: Tokens, b: Tokens) -> int:
    for length, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return length
    return min(len(a), len(b))


def select_rows(cache: DynamicCache, index_R: Tensor) -> None:
    """Keep only these rows of a cache, in this order; a row may be kept several times.

    ``batch_select_indices`` is missing in some layers, and in those that hold keys and a recurrent state it forgets the state.
    """
    untyped: Any = cache  # which asks for another class of tensor than it needs
    untyped.reorder_cache(index_R)


def forward_levels(model: Any, levels: Sequence[Level], cache: DynamicCache | None) -> tuple[list[Tensor], Tensor]:
    """Read the levels in turn; gradients flow through the cache.

    Args:
        model: a causal LM of transformers, or one without its output layer (`hf.training.chunked_logprobs`).
        levels: at least one.
        cache: an empty one, filled with the last level's rows; may be None for a single level.

    Returns:
        The kept logits of each level (R, S, V), or the inputs of the output layer, and the attention mask over all tokens
        that the last level's rows have read (R, L).
    """
    seen_RL = levels[0].seen_RT
    logits: list[Tensor] = []
    for depth, rows in enumerate(levels):
        if depth:
            assert cache is not None
            select_rows(cache, rows.index_R)
            seen_RL = torch.cat([seen_RL[rows.index_R], rows.seen_RT], 1)
        logits.append(forward(model, rows.ids_RT, seen_RL=seen_RL, position_RT=rows.position_RT, cache=cache, keep=rows.keep))
    return logits, seen_RL
