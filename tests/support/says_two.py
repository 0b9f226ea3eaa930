"""An engine that always gives the same answer."""

from collections.abc import Sequence
from pathlib import Path

from scripted_engine import make_chat

from espl_bench.engines.engine import AdamParams, Chat
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.types import Completion, Datum, SampleRequest, StopReason


class SaysTwo:
    """An engine whose only thought is that the answer is 2."""

    isolates_snapshots = True
    batches_continuously = False

    def __init__(self) -> None:
        self.chat: Chat = make_chat()

    async def current(self) -> "SaysTwo":
        return self

    async def reference(self) -> "SaysTwo":
        return self

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        return [Completion((1, 2), (0.0, 0.0), r"<think>3?</think> \boxed{2}", StopReason.STOP) for _ in requests]

    async def train_step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> dict[str, float]:
        return {}

    async def save(self, folder: Path) -> None:
        (folder / "weights.json").write_text("{}")

    async def load(self, folder: Path) -> None:
        pass

    async def close(self) -> None:
        pass
