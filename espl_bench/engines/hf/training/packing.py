"""Lay out a micro-batch in levels of padded rows: prefixes, each read once, then rests that continue them through a KV cache.

Rests are of different lengths, and padding costs as much as tokens do. Where it pays they are read in two levels: the first w
tokens of all, then the remainder of those that are longer.

Everything is padded on the right; positions are counted without padding.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from espl_bench.engines.hf.reading.prefix_sharing import WORTH, Level, SplitPrompt, forward_levels, level, prompt_levels
from espl_bench.engines.hf.training.micro_batch import Targets
from espl_bench.engines.hf.training.split_trajectories import SplitTrajectory, fill, split_trajectories, whole_trajectories
from espl_bench.types import Datum


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some columns of the rests: the rows that reach them, and the targets to predict there."""

    level: Level
    row_N: Tensor
    column_N: Tensor
    """Index into ``level.keep``: the columns that predict a sampled token in some row."""
    targets: Targets


@dataclass(frozen=True, slots=True)
class LevelBatch:
    """Prefixes, if any, and one or two levels of rests."""

    data: tuple[Datum, ...]
    prompts: tuple[Level, ...]
    chunks: tuple[Chunk, ...]

    @property
    def targets(self) -> Targets:
        """Concatenate those of all chunks."""
        parts = [chunk.targets for chunk in self.chunks]
        return Targets(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Targets)))

    @property
    def tokens(self) -> int:
        """Count the tokens to read, padding included."""
        return sum(level.ids_RT.numel() for level in self._levels)

    @property
    def _levels(self) -> tuple[Level, ...]:
        return *self.prompts, *(chunk.level for chunk in self.chunks)

    def read(self, model: Any) -> Tensor:
        """Return the rows that predict the targets, (N, …). The rests attend to their prefixes through a KV cache."""
        cache = DynamicCache(config=model.config) if len(self._levels) > 1 else None
        read_RS, _ = forward_levels(model, self._levels, cache)
        chunks = zip(self.chunks, read_RS[len(self.prompts) :], strict=True)
        return torch.cat([rows_RS[chunk.row_N, chunk.column_N] for chunk, rows_RS in chunks])


def sharing_prompts(data: Sequence[Datum], budget: Callable[[], int], device: torch.device) -> Iterator[LevelBatch]:
    """Pack the data, longest prompts first, and read every different prompt once.

    Args:
        data: each with at least one sampled token. A sampled first token cannot be predicted and is left out.
        budget: returns the upper bound of the tokens of a micro-batch with more than one row, padding included.
        device: where to put the tensors.
    """
    return (_collate(batch, _bounds(_rests(batch)), device) for batch in fill(split_trajectories(data), budget, _cost))


def reading_whole(data: Sequence[Datum], budget: Callable[[], int], device: torch.device) -> Iterator[LevelBatch]:
    """Pack the data as `sharing_prompts` does, and read every trajectory whole, in one level: for what has no cache that can be trusted."""
    return (_collate(batch, (max(_rests(batch)),), device) for batch in fill(whole_trajectories(data), budget, _cost))


def _cost(splits_B: Sequence[SplitTrajectory]) -> int:
    """Count the tokens to read, padding included, if the rests are one level."""
    prefixes = {split.prefix for split in splits_B}
    shared = {prefix.shared for prefix in prefixes}
    levels = (list(shared), [prefix.suffix for prefix in prefixes], [split.rest for split in splits_B])
    return sum(len(rows) * max(map(len, rows)) for rows in levels)


def _rests(splits_B: Sequence[SplitTrajectory]) -> list[int]:
    return [len(split.rest) for split in splits_B]


def _collate(splits_B: Sequence[SplitTrajectory], bounds: tuple[int, ...], device: torch.device) -> LevelBatch:
    unique: dict[SplitPrompt, int] = {}
    index = [unique.setdefault(split.prefix, len(unique)) for split in splits_B]
    chunks = [_chunk(splits_B, index, 0, bounds[0], device)]
    for start, stop in pairwise(bounds):
        longer = [row for row, split in enumerate(splits_B) if len(split.rest) > start]
        chunks.append(_chunk([splits_B[row] for row in longer], longer, start, stop, device))
    prompts = prompt_levels(list(unique), "right", device) if any(prefix.suffix for prefix in unique) else ()
    return LevelBatch(tuple(split.datum for split in splits_B), prompts, tuple(chunks))


def _bounds(lengths: Sequence[int]) -> tuple[int, ...]:
    """Return where each level of rests ends: one level, or two if that saves a quarter of their tokens (and `WORTH` of them)."""
    longest = max(lengths)

    def tokens(width: int) -> int:
        return len(lengths) * width + sum(length > width for length in lengths) * (longest - width)

    width = min(sorted(set(lengths)), key=tokens)
    saved = tokens(longest) - tokens(width)
    return (width, longest) if saved >= max(WORTH, tokens(longest) / 4) else (longest,)


def _chunk(splits_B: Sequence[SplitTrajectory], index: Sequence[int], start: int, stop: int, device: torch.device) -> Chunk:
    """Collate columns ``start`` to ``stop`` of rests; column t predicts token t + 1."""
    mask_BT = torch.zeros(len(splits_B), stop - start, dtype=torch.bool)
    predicted: list[tuple[int, float, float, float]] = []
    for row, split in enumerate(splits_B):
        for t, target in split.predicted(start, stop):
            mask_BT[row, t - start] = True
            predicted.append(target)
    keep_S = mask_BT.any(0).nonzero()[:, 0]
    row_N, t_N = mask_BT.nonzero(as_tuple=True)
    return Chunk(
        level=level(
            [split.rest[start:stop] for split in splits_B], [split.start + start for split in splits_B], index, device, keep=keep_S
        ),
        row_N=row_N.to(device),
        column_N=torch.searchsorted(keep_S, t_N).to(device),
        targets=Targets.of(row_N if start == 0 else torch.tensor(index)[row_N], predicted, device),
    )
