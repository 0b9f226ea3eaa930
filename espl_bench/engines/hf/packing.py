"""Pack trajectories into micro-batches of tensors that fit a token budget.

The rollouts of a group share their prompt, so a trajectory is cut in two: its *prefix* (the prompt without its last token) and
its *rest*: that last token, then everything before the last sampled token, which is predicted and need not be read. A
micro-batch reads each different prefix once, and a beginning that prefixes share once (`hf.prefix_sharing`), then the rests. Every token to
be predicted follows one of a rest. On rollouts shorter than their prompt this is most of the work of a training step saved.

Rests are of different lengths, and padding costs as much as tokens do. Where it pays they are read in two levels: the first w
tokens of all, then the remainder of those that are longer.

Everything is padded on the right; positions are counted without padding.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from espl_bench.engines.hf.prefix_sharing import WORTH, Level, SplitPrompt, Tokens, level, prompt_levels, split_prefixes
from espl_bench.types import Datum


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """A trajectory in three parts: a shared beginning and suffix of its prompt, and the rest."""

    prefix: SplitPrompt
    rest: Tokens
    datum: Datum

    @property
    def start(self) -> int:
        """Position of the rest's first token."""
        return len(self.prefix.shared) + len(self.prefix.suffix)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key under which neighbours share their prefix or have similar lengths; total, as far as order matters."""
        shared, suffix = self.prefix
        return len(shared), shared, len(suffix), suffix, len(self.rest), self.rest, self.datum.advantage, self.datum.advantages_T


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some columns of the rests: the rows that reach them, and the targets to predict there."""

    level: Level
    row_N: Tensor
    column_N: Tensor
    """Index into ``level.keep``: the columns that predict a sampled token in some row."""
    target_N: Tensor
    sampler_N: Tensor
    advantage_N: Tensor
    temperature_N: Tensor


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Prefixes, if any, and one or two levels of rests."""

    prompts: tuple[Level, ...]
    chunks: tuple[Chunk, ...]


def micro_batches(
    data: Sequence[Datum], budget: int, *, share_prompts: bool, device: torch.device, one_level: bool = False
) -> Iterator[MicroBatch]:
    """Pack the data, longest prompts first.

    Args:
        data: each with at least one sampled token. A sampled first token cannot be predicted and is left out.
        budget: upper bound of the tokens of a micro-batch with more than one row, padding included.
        share_prompts: False keeps every trajectory whole: all prefixes are empty.
        device: where to put the tensors.
        one_level: read rests in one level, which without shared prompts needs no KV cache.
    """
    splits = sorted(_splits(data) if share_prompts else _whole(data), key=lambda split: split.order, reverse=True)
    batch: list[SharedPrefix] = []
    for split in splits:
        if batch and _cost([*batch, split]) > budget:
            yield _collate(batch, device, one_level)
            batch = []
        batch.append(split)
    if batch:
        yield _collate(batch, device, one_level)


def _whole(data: Sequence[Datum]) -> Iterator[SharedPrefix]:
    return (SharedPrefix(SplitPrompt((), ()), datum.tokens_T[: _end(datum)], datum) for datum in data)


def _splits(data: Sequence[Datum]) -> Iterator[SharedPrefix]:
    starts = [max(datum.mask_T.index(True) - 1, 0) for datum in data]
    prefixes = list(dict.fromkeys(datum.tokens_T[:start] for datum, start in zip(data, starts, strict=True)))
    cuts = dict(zip(prefixes, split_prefixes(prefixes), strict=True))
    return (
        SharedPrefix(cuts[datum.tokens_T[:start]], datum.tokens_T[start : _end(datum)], datum)
        for datum, start in zip(data, starts, strict=True)
    )


def _end(datum: Datum) -> int:
    """Return the index of the last sampled token."""
    return len(datum.mask_T) - 1 - datum.mask_T[::-1].index(True)


def _cost(splits_B: Sequence[SharedPrefix]) -> int:
    """Count the tokens to read, padding included, if the rests are one level."""
    prefixes = {split.prefix for split in splits_B}
    shared = {prefix.shared for prefix in prefixes}
    levels = (list(shared), [prefix.suffix for prefix in prefixes], [split.rest for split in splits_B])
    return sum(len(rows) * max(map(len, rows)) for rows in levels)


def _collate(splits_B: Sequence[SharedPrefix], device: torch.device, one_level: bool) -> MicroBatch:
    unique: dict[SplitPrompt, int] = {}
    index = [unique.setdefault(split.prefix, len(unique)) for split in splits_B]
    lengths = [len(split.rest) for split in splits_B]
    bounds = (max(lengths),) if one_level else _bounds(lengths)
    chunks = [_chunk(splits_B, index, 0, bounds[0], device)]
    for start, stop in pairwise(bounds):
        longer = [row for row, split in enumerate(splits_B) if len(split.rest) > start]
        chunks.append(_chunk([splits_B[row] for row in longer], longer, start, stop, device))
    prompts = prompt_levels(list(unique), "right", device) if any(prefix.suffix for prefix in unique) else ()
    return MicroBatch(prompts, tuple(chunks))


def _bounds(lengths: Sequence[int]) -> tuple[int, ...]:
    """Return where each level of rests ends: one level, or two if that saves a quarter of their tokens (and `WORTH` of them)."""
    longest = max(lengths)

    def tokens(width: int) -> int:
        return len(lengths) * width + sum(length > width for length in lengths) * (longest - width)

    width = min(sorted(set(lengths)), key=tokens)
    saved = tokens(longest) - tokens(width)
    return (width, longest) if saved >= max(WORTH, tokens(longest) / 4) else (longest,)


def _chunk(splits_B: Sequence[SharedPrefix], index: Sequence[int], start: int, stop: int, device: torch.device) -> Chunk:
    """Collate columns ``start`` to ``stop`` of rests; column t predicts token t + 1."""
    mask_BT = torch.zeros(len(splits_B), stop - start, dtype=torch.bool)
    predicted: list[tuple[int, float, float, float]] = []
    for row, split in enumerate(splits_B):
        for t in range(start, min(stop, len(split.rest))):
            token = split.start + t + 1
            if split.datum.mask_T[token]:
                mask_BT[row, t - start] = True
                predicted.append(
                    (split.datum.tokens_T[token], split.datum.logprobs_T[token], split.datum.advantage_at(token), split.datum.temperature)
                )
    keep_S = mask_BT.any(0).nonzero()[:, 0]
    row_N, t_N = mask_BT.nonzero(as_tuple=True)
    target_N, sampler_N, advantage_N, temperature_N = zip(*predicted, strict=True) if predicted else ((),) * 4
    rows = [split.rest[start:stop] for split in splits_B]
    return Chunk(
        level=level(rows, [split.start + start for split in splits_B], index, device, keep=keep_S),
        row_N=row_N.to(device),
        column_N=torch.searchsorted(keep_S, t_N).to(device),
        target_N=torch.tensor(target_N, dtype=torch.long, device=device),
        sampler_N=torch.tensor(sampler_N, device=device),
        advantage_N=torch.tensor(advantage_N, device=device),
        temperature_N=torch.tensor(temperature_N, device=device),
    )
