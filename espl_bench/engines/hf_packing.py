"""Trajectories to micro-batches of tensors that fit a token budget.

The rollouts of a group share their prompt, so a micro-batch is packed in two parts: each different *prefix* (a prompt
without its last token) once, and one *rest* per trajectory (that last token, then everything after it). Every token to be
predicted lies in a rest. On rollouts shorter than their prompt this is most of the work of a training step saved.

Both parts are padded on the right; positions are counted without padding.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the libraries below are partly untyped)

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from espl_bench.types import Datum


@dataclass(frozen=True, slots=True)
class Split:
    """A trajectory in two parts."""

    prefix: tuple[int, ...]
    rest: tuple[int, ...]
    datum: Datum

    @property
    def order(self) -> tuple[Any, ...]:
        """Neighbours in this order share their prefix or are of a similar length; it is total, as far as it matters."""
        return len(self.prefix), self.prefix, len(self.rest), self.rest, self.datum.advantage


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """U prefixes of at most P tokens; B rests of at most T tokens; N sampled tokens in all."""

    prefix_UP: Tensor
    prefix_seen_UP: Tensor
    index_B: Tensor
    """Which prefix a row continues."""
    rest_BT: Tensor
    seen_BL: Tensor
    """Attention mask over prefix and rest, L = P + T."""
    position_BT: Tensor
    keep_S: Tensor
    """Columns of the rests whose logits are needed: those that predict a sampled token in some row."""
    row_N: Tensor
    column_N: Tensor
    """Index into ``keep_S``."""
    target_N: Tensor
    sampler_N: Tensor
    advantage_N: Tensor
    temperature_N: Tensor


def micro_batches(data: Sequence[Datum], budget: int, *, share_prompts: bool, device: torch.device) -> Iterator[MicroBatch]:
    """Pack the data, longest prompts first.

    Args:
        data: each with at least one sampled token. A sampled first token cannot be predicted and is left out.
        budget: upper bound of U * P + B * T of a micro-batch with more than one row.
        share_prompts: False keeps every trajectory whole: all prefixes are empty.
        device: where the tensors are to be.
    """
    splits = sorted((_split(datum, share_prompts) for datum in data), key=lambda split: split.order, reverse=True)
    batch: list[Split] = []
    for split in splits:
        if batch and _cost([*batch, split]) > budget:
            yield _collate(batch, device)
            batch = []
        batch.append(split)
    if batch:
        yield _collate(batch, device)


def _split(datum: Datum, share_prompts: bool) -> Split:
    cut = max(datum.mask_T.index(True) - 1, 0) if share_prompts else 0
    return Split(datum.tokens_T[:cut], datum.tokens_T[cut:], datum)


def _cost(splits_B: Sequence[Split]) -> int:
    prefixes = {split.prefix for split in splits_B}
    return len(prefixes) * max(map(len, prefixes)) + len(splits_B) * max(len(split.rest) for split in splits_B)


def _collate(splits_B: Sequence[Split], device: torch.device) -> MicroBatch:
    unique: dict[tuple[int, ...], int] = {}
    index_B = torch.tensor([unique.setdefault(split.prefix, len(unique)) for split in splits_B])
    prefix_UP = _padded([list(prefix) for prefix in unique], 0)
    prefix_seen_UP = _seen([len(prefix) for prefix in unique])
    length_B = torch.tensor([len(split.prefix) for split in splits_B])
    rest_BT = _padded([list(split.rest) for split in splits_B], 0)
    # column t of the next two speaks of token t + 1, which it predicts
    mask_BT = _padded([list(split.datum.mask_T[len(split.prefix) + 1 :]) for split in splits_B], False)
    sampler_BT = _padded([list(split.datum.logprobs_T[len(split.prefix) + 1 :]) for split in splits_B], 0.0)
    keep_S = mask_BT.any(0).nonzero()[:, 0]
    row_N, place_N = mask_BT.nonzero(as_tuple=True)
    advantage_B = torch.tensor([split.datum.advantage for split in splits_B])
    temperature_B = torch.tensor([split.datum.temperature for split in splits_B])
    return MicroBatch(
        prefix_UP=prefix_UP.to(device),
        prefix_seen_UP=prefix_seen_UP.to(device),
        index_B=index_B.to(device),
        rest_BT=rest_BT.to(device),
        seen_BL=torch.cat([prefix_seen_UP[index_B], _seen([len(split.rest) for split in splits_B])], 1).to(device),
        position_BT=(length_B[:, None] + torch.arange(rest_BT.shape[1])).to(device),
        keep_S=keep_S.to(device),
        row_N=row_N.to(device),
        column_N=torch.searchsorted(keep_S, place_N).to(device),
        target_N=rest_BT[row_N, place_N + 1].to(device),
        sampler_N=sampler_BT[row_N, place_N].to(device),
        advantage_N=advantage_B[row_N].to(device),
        temperature_N=temperature_B[row_N].to(device),
    )


def _padded(rows: Sequence[list[int] | list[bool] | list[float]], padding: int | bool | float) -> Tensor:
    width = max(map(len, rows))
    dtype = {bool: torch.bool, int: torch.long, float: torch.float32}[type(padding)]
    return torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows], dtype=dtype)


def _seen(lengths: Sequence[int]) -> Tensor:
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
