"""What a trainer asks of a micro-batch, however it is laid out (`hf.training.packing`, `hf.training.tree_packing`)."""
# pyright: reportUnknownMemberType=false
# (torch is partly untyped)

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from espl_bench.types import Datum


@dataclass(frozen=True, slots=True)
class Targets:
    """The N sampled tokens to predict."""

    row_N: Tensor
    """Index of the trajectory that each belongs to."""
    target_N: Tensor
    sampler_N: Tensor
    """Log-probability when it was sampled."""
    advantage_N: Tensor
    temperature_N: Tensor

    @classmethod
    def of(cls, rows: Tensor, predicted: Sequence[tuple[int, float, float, float]], device: torch.device) -> "Targets":
        """Build tensors from one tuple per token: id, sampler's log-probability, advantage, temperature."""
        target_N, sampler_N, advantage_N, temperature_N = zip(*predicted, strict=True) if predicted else ((),) * 4
        return cls(
            row_N=rows.to(device),
            target_N=torch.tensor(target_N, dtype=torch.long, device=device),
            sampler_N=torch.tensor(sampler_N, device=device),
            advantage_N=torch.tensor(advantage_N, device=device),
            temperature_N=torch.tensor(temperature_N, device=device),
        )


class MicroBatch(Protocol):
    """Some trajectories as tensors."""

    @property
    def data(self) -> tuple[Datum, ...]:
        """The trajectories, by row."""
        ...

    @property
    def targets(self) -> Targets:
        """What is predicted, in the order of `read`."""
        ...

    @property
    def tokens(self) -> int:
        """Number of tokens to read, padding included."""
        ...

    def read(self, model: Any) -> Tensor:
        """Return the rows of the model's forward that predict the targets, (N, …)."""
        ...


Packing = Callable[[Sequence[Datum], Callable[[], int], torch.device], Iterator[MicroBatch]]
"""Packs data into micro-batches. How many tokens the next one may have is asked when it is filled."""
