"""A lab model under measurement: its texts, and rates of success."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.seeding import seed_for
from espl_bench.types import Message, SampleRequest


@dataclass(frozen=True, slots=True)
class Rate:
    """A share and its total."""

    name: str
    hits: int
    total: int

    @property
    def value(self) -> float:
        """Share in 0..1."""
        return self.hits / self.total if self.total else 0.0


class Writer:
    """The model under measurement."""

    def __init__(self, model: Path, temperature: float) -> None:
        """Loads the model."""
        self.engine = HfEngine.from_pretrained(model, AdapterSpec(rank=1, alpha=1.0, seed=0))
        self.temperature = temperature

    def write(self, prompts: Sequence[Sequence[Message]], kind: str) -> list[str]:
        """Return one text per prompt."""
        requests = [
            SampleRequest(self.engine.chat.encode(messages), seed_for(0, "measure", kind, row), 384, self.temperature)
            for row, messages in enumerate(prompts)
        ]

        async def sample() -> list[str]:
            client = await self.engine.reference()
            return [completion.text for completion in await client.sample(requests)]

        return asyncio.run(sample())
