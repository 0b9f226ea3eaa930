"""The training half of an engine: a transformers + peft trainer off the event loop, one action at a time.

The embedded engine and engine vllm differ in the sampler; both train and checkpoint with this class. Where engine vllm trains on several
devices, another one with the same interface stands in for it (`hf.sharding`).
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (torch is partly untyped)

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.adapter import checkpoints
from espl_bench.engines.hf.training.trainer import Trainer
from espl_bench.errors import DeviceMemoryError
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.types import Datum

Result = TypeVar("Result")


class WeightsLearner(Protocol):
    """What trains weights, on one device or on several. Its methods are described at `Learner`."""

    async def train_step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> Mapping[str, float]:
        """Take one optimiser step."""
        ...

    async def score(self, data: Sequence[Datum], *, reference: bool) -> list[tuple[float, ...]]:
        """Return the log-probabilities of the sampled tokens, under base or current weights."""
        ...

    async def save(self, folder: Path) -> None:
        """Write adapter and optimiser."""
        ...

    async def save_adapter(self, folder: Path) -> None:
        """Write the adapter alone."""
        ...

    async def load(self, folder: Path) -> None:
        """Restore what ``save`` wrote."""
        ...

    def close(self) -> None:
        """Free what it holds beyond this process."""
        ...


class Learner:
    """One trainer behind a lock; every action runs in a thread."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.lock = threading.Lock()

    async def train_step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> Mapping[str, float]:
        """Take one optimiser step on the sum over data and tokens; without data, no step. For the metrics see `Trainer.step`.

        Raises:
            DeviceMemoryError: the step does not fit; no weight has changed.
        """
        return await self.run(lambda: take_step(self.trainer, tuple(data), loss, adam))

    async def score(self, data: Sequence[Datum], *, reference: bool) -> list[tuple[float, ...]]:
        """Return the log-probabilities of the sampled tokens (`engines.engine.ScoringEngine`)."""
        return await self.run(lambda: self._score(tuple(data), reference))

    async def divergence(self, data: Sequence[Datum], others: Sequence[Datum]) -> list[tuple[float, ...]]:
        """Return the divergence at each sampled token (`engines.engine.MeasurableEngine`)."""
        pairs = tuple(zip(data, others, strict=True))
        return await self.run(lambda: [tuple(self.trainer.divergence(own, other)) for own, other in pairs])

    async def load_weights(self, folder: Path) -> None:
        """Take the weights that ``save`` wrote, and a fresh optimiser. Raises CheckpointError as `load`."""
        await self.run(lambda: checkpoints.load_weights(self.trainer, folder))

    async def save(self, folder: Path) -> None:
        """Write adapter and optimiser into an existing empty folder (`hf.adapter.checkpoints` names the files)."""
        await self.run(lambda: checkpoints.save(self.trainer, folder))

    async def save_adapter(self, folder: Path) -> None:
        """Write the adapter alone into an existing empty folder."""
        await self.run(lambda: checkpoints.save_adapter(self.trainer, folder))

    async def load(self, folder: Path) -> None:
        """Restore what ``save`` wrote; training continues bit for bit.

        Raises:
            CheckpointError: a file is missing, damaged, or belongs to another model or adapter.
        """
        await self.run(lambda: checkpoints.load(self.trainer, folder))

    def close(self) -> None:
        """Do nothing: the weights go with this object."""

    async def run(self, action: Callable[[], Result]) -> Result:
        """Run an action that needs exclusive use of the trainer, in a thread."""
        return await asyncio.to_thread(self._locked, action)

    def _locked(self, action: Callable[[], Result]) -> Result:
        with self.lock:
            return action()

    def _score(self, data: Sequence[Datum], reference: bool) -> list[tuple[float, ...]]:
        with self.trainer.model.disable_adapter() if reference else nullcontext():
            return self.trainer.score(data)


def take_step(trainer: Trainer, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> Mapping[str, float]:
    """Take one optimiser step. Raises DeviceMemoryError if it does not fit; no weight has changed then."""
    try:
        return trainer.step(data, loss, adam)
    except torch.OutOfMemoryError as error:
        trainer.optimizer.zero_grad(set_to_none=True)
        raise DeviceMemoryError(
            f"the training step does not fit into the memory of {trainer.model.device}; lower --token-budget, add "
            "--gradient-checkpointing, or with vLLM on the same card lower --gpu-memory-utilization or add --sleep"
        ) from error
