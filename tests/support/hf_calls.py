"""Engine hf on a small model: opened, asked and trained."""

import random
from pathlib import Path
from typing import Any

from checked import present
from engine_calls import wait

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.hf.training import Trainer
from espl_bench.learning.losses import default_loss
from espl_bench.types import Datum, SampleRequest

LOSS = default_loss("importance_sampling")
ADAM = AdamParams(lr=0.02)


def load(folder: Path, dtype: str | None = None, max_batch_tokens: int = 32_768, **settings: Any) -> HfEngine:
    spec = AdapterSpec(**{"rank": 4, "alpha": 8.0, "seed": 0, "device": "cpu"} | settings)
    return HfEngine.from_pretrained(folder, spec, dtype=dtype, max_batch_tokens=max_batch_tokens)


def trainer(engine: HfEngine) -> Trainer:
    return present(engine._parts).trainer


def requests(count: int = 12, *, temperature: float = 1.0, top_p: float = 1.0, max_tokens: int = 12) -> list[SampleRequest]:
    """Ragged prompts, each asked for three times, with different seeds."""
    rng = random.Random(0)
    prompts = [tuple(rng.randrange(5, 95) for _ in range(rng.randint(2, 20))) for _ in range(count // 3)]
    return [SampleRequest(prompt, 100 * i + j, max_tokens, temperature, top_p) for i, prompt in enumerate(prompts) for j in range(3)]


def train(engine: HfEngine, rollouts: list[Datum], **settings: Any) -> dict[str, float]:
    return dict(wait(engine.train_step(rollouts, LOSS, ADAM if not settings else AdamParams(**settings))))
