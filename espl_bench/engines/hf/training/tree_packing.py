"""Lay out a micro-batch as one sequence without padding, in which a token sees itself and its ancestors.

Trajectories form a tree: shared beginnings, the remainders of prompts, and rests (`hf.training.split_trajectories`). Every node of the
tree stands once, behind its ancestors, and a mask says which tokens see which. So nothing is padded, shared prompts are read once
without a KV cache, and layers may be computed again in the backward pass (gradient checkpointing).

The mask has T x T entries. On CUDA it goes to FlexAttention (arXiv 2412.05496), which skips blocks that nothing sees; which blocks these
are follows from where nodes begin, without looking at entries. Elsewhere the mask is dense: for tests and trials, not for speed.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from espl_bench.engines.hf.reading import block_attention
from espl_bench.engines.hf.reading.forward import forward
from espl_bench.engines.hf.reading.prefix_sharing import Tokens
from espl_bench.engines.hf.training.micro_batch import Targets
from espl_bench.engines.hf.training.split_trajectories import SplitTrajectory, fill, split_trajectories
from espl_bench.types import Datum

BLOCK = 128
"""Tokens of a side of a block of the mask; sequences are filled up to whole blocks."""
_DEPTH = 3
"""Of the tree: shared beginnings, suffixes, rests. Always this many, so that kernels are compiled once."""
_NONE = -1
"""Stands where a token has fewer ancestors than others."""


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Which of T tokens see which."""

    node_T: Tensor
    """The node of each token; nodes are numbered in the order in which they stand."""
    lineage_MA: Tensor
    """The ancestors of each of M nodes, itself included; filled up with `_NONE` to `_DEPTH`."""

    def dense(self) -> Tensor:
        """Return the whole mask, (1, 1, T, T): True where a query's row sees a key's column."""
        place_T = torch.arange(len(self.node_T), device=self.node_T.device)
        related_TT = (self.lineage_MA[self.node_T][:, None] == self.node_T[None, :, None]).any(-1)
        return (related_TT & (place_T[:, None] >= place_T))[None, None]

    def blocks(self) -> BlockMask:
        """Return the mask for FlexAttention. T must be whole blocks, at least two."""
        node_T = self.node_T
        lineage_AT = self.lineage_MA[node_T].t().contiguous()

        def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            node = node_T[key]
            related = (lineage_AT[0, query] == node) | (lineage_AT[1, query] == node) | (lineage_AT[2, query] == node)
            return related & (query >= key)

        some, all_of = self._visible_blocks()
        partial = (some & ~all_of)[None, None]
        full = all_of[None, None]
        mask = BlockMask.from_kv_blocks(
            *_ordered(partial), *_ordered(full), BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(len(node_T), len(node_T))
        )
        block_attention.compile_for_any_length(mask)
        return mask

    def _visible_blocks(self) -> tuple[Tensor, Tensor]:
        """Return which blocks (query, key) have an entry that is True, and which have no other."""
        nodes = len(self.lineage_MA)
        node_QB = self.node_T.view(-1, BLOCK)
        holds_QM = torch.zeros(len(node_QB), nodes, device=node_QB.device).scatter_(1, node_QB, 1.0)
        known = self.lineage_MA >= 0
        descends_MM = torch.zeros(nodes, nodes, device=node_QB.device)
        descends_MM[torch.arange(nodes, device=node_QB.device)[:, None].expand_as(self.lineage_MA)[known], self.lineage_MA[known]] = 1.0
        pairs_QK = holds_QM @ descends_MM @ holds_QM.t()
        count_Q = holds_QM.sum(1)
        return (pairs_QK > 0).tril(), (pairs_QK == count_Q[:, None] * count_Q).tril(-1)


def _ordered(visible: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of visible key blocks of each query block, and their indices first among all."""
    return visible.sum(-1).int(), visible.int().argsort(dim=-1, descending=True, stable=True).int()


@dataclass(frozen=True, slots=True)
class TreeBatch:
    """One sequence of T tokens."""

    data: tuple[Datum, ...]
    ids_T: Tensor
    position_T: Tensor
    ancestry: Ancestry
    keep_N: Tensor
    """Where the predicting tokens stand."""
    targets: Targets

    @property
    def tokens(self) -> int:
        """Count the tokens to read."""
        return len(self.ids_T)

    def read(self, model: Any) -> Tensor:
        """Return the rows that predict the targets, (N, …)."""
        mask: Any = self.ancestry.blocks() if block_attention.trains_on(self.ids_T.device) else self.ancestry.dense()
        return forward(model, self.ids_T[None], seen_RL=mask, position_RT=self.position_T[None], cache=None, keep=self.keep_N)[0]


def as_trees(data: Sequence[Datum], budget: Callable[[], int], device: torch.device) -> Iterator[TreeBatch]:
    """Pack the data as `packing.sharing_prompts` does; the budget counts tokens, and a micro-batch of one trajectory may exceed it."""
    return (_lay_out(batch, device) for batch in fill(split_trajectories(data), budget, _cost))


def _cost(splits_B: Sequence[SplitTrajectory]) -> int:
    prefixes = {split.prefix for split in splits_B}
    shared = {prefix.shared for prefix in prefixes}
    return sum(map(len, shared)) + sum(len(prefix.suffix) for prefix in prefixes) + sum(len(split.rest) for split in splits_B)


@dataclass(slots=True)
class _Sequence:
    """A tree on the way to tensors."""

    ids: list[int] = field(default_factory=list[int])
    positions: list[int] = field(default_factory=list[int])
    nodes: list[int] = field(default_factory=list[int])
    lineages: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])

    def append(self, tokens: Tokens, start: int, ancestors: tuple[int, ...]) -> tuple[int, ...]:
        """Add a node, if it has tokens; return the ancestors of what continues it."""
        if not tokens:
            return ancestors
        own = len(self.lineages)
        self.lineages.append((*ancestors, own))
        self.ids += tokens
        self.positions += range(start, start + len(tokens))
        self.nodes += [own] * len(tokens)
        return self.lineages[own]

    def ancestry(self, device: torch.device) -> Ancestry:
        lineages = [(*lineage, *(_NONE,) * (_DEPTH - len(lineage))) for lineage in self.lineages]
        return Ancestry(torch.tensor(self.nodes, device=device), torch.tensor(lineages, device=device))


def _lay_out(splits_B: Sequence[SplitTrajectory], device: torch.device) -> TreeBatch:
    whole = _Sequence()
    behind: dict[tuple[Tokens, ...], tuple[int, ...]] = {}
    keep: list[int] = []
    rows: list[int] = []
    predicted: list[tuple[int, float, float, float]] = []
    for row, split in enumerate(splits_B):
        shared, suffix = split.prefix
        if (shared,) not in behind:
            behind[shared,] = whole.append(shared, 0, ())
        if (shared, suffix) not in behind:
            behind[shared, suffix] = whole.append(suffix, len(shared), behind[shared,])
        first = len(whole.ids)
        whole.append(split.rest, split.start, behind[shared, suffix])
        for t, target in split.predicted(0, len(split.rest)):
            keep.append(first + t)
            rows.append(row)
            predicted.append(target)
    # a length of one block would be compiled by itself, as every dimension of size 1
    whole.append((0,) * (max(-len(whole.ids) % BLOCK, 2 * BLOCK - len(whole.ids))), 0, ())
    return TreeBatch(
        data=tuple(split.datum for split in splits_B),
        ids_T=torch.tensor(whole.ids, device=device),
        position_T=torch.tensor(whole.positions, device=device),
        ancestry=whole.ancestry(device),
        keep_N=torch.tensor(keep, device=device),
        targets=Targets.of(torch.tensor(rows), predicted, device),
    )
