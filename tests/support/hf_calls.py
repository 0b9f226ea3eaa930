"""Engine hf on a small model: opened, asked and trained."""

import random
from pathlib import Path
from typing import Any

import torch
from checked import present
from engine_calls import wait

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.hf.training.trainer import Trainer
from espl_bench.errors import EsplError
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


def adapter(engine: HfEngine) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer(engine).parameters.items()}


def base_weights(engine: HfEngine) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainer(engine).model.named_parameters() if not p.requires_grad}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def one_line(error: EsplError, *parts: str) -> None:
    """Check that an error is one line that names these parts."""
    text = str(error)
    assert "\n" not in text
    assert not [part for part in parts if part not in text]
