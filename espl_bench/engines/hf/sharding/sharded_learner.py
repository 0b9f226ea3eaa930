"""A trainer over several devices, behind the interface of a trainer on one."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.sharding.rank_processes import RankProcesses
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.types import Datum


class ShardedLearner:
    """Passes each action on to all ranks. It is a `hf.learner.WeightsLearner`."""

    def __init__(self, ranks: RankProcesses) -> None:
        self._ranks = ranks

    async def train_step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> Mapping[str, float]:
        """Take one optimiser step on the sum over data and tokens, micro-batches spread over the devices."""
        return await self._ask("train_step", tuple(data), loss, adam)

    async def score(self, data: Sequence[Datum], *, reference: bool) -> list[tuple[float, ...]]:
        """Return the log-probabilities of the sampled tokens (`engines.engine.ScoringEngine`)."""
        return await self._ask("score", tuple(data), reference)

    async def divergence(self, data: Sequence[Datum], others: Sequence[Datum]) -> list[tuple[float, ...]]:
        """Return the divergence at each sampled token (`engines.engine.MeasurableEngine`)."""
        return await self._ask("divergence", tuple(zip(data, others, strict=True)))

    async def load_weights(self, folder: Path) -> None:
        """Take the weights that ``save`` wrote, and a fresh optimiser. Raises CheckpointError as `load`."""
        await self._ask("load_weights", folder)

    async def save(self, folder: Path) -> None:
        """Write adapter and optimiser into an existing empty folder, in the files of a trainer on one device."""
        await self._ask("save", folder)

    async def save_adapter(self, folder: Path) -> None:
        """Write the adapter alone into an existing empty folder."""
        await self._ask("save_adapter", folder)

    async def load(self, folder: Path) -> None:
        """Restore what ``save`` wrote, on any number of devices. Raises CheckpointError."""
        await self._ask("load", folder)

    def close(self) -> None:
        """End the processes and free the devices."""
        self._ranks.close()

    async def _ask(self, action: str, *arguments: Any) -> Any:
        return await asyncio.to_thread(self._ranks.ask, action, *arguments)
