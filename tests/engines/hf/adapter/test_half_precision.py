"""An adapter of float32 weights on a base in half precision multiplies in half precision, and learns as in float32."""

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_calls import data, sample, wait
from engines_fixtures import make_model
from hf_calls import ADAM, LOSS, load, requests, train, trainer
from peft.tuners import lora
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from espl_bench.engines.hf.adapter.half_precision import HalfPrecisionLora
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.types import Datum


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), spread=0.1)


def away_from_zero(engine: HfEngine) -> HfEngine:
    """Give the adapter an update: a fresh one has none, and no gradient for half of its weights."""
    rng = torch.Generator().manual_seed(1)
    for parameter in trainer(engine).parameters.values():
        parameter.data = torch.randn(parameter.shape, generator=rng) * 0.05
    return engine


def gradient(engine: HfEngine, rollouts: list[Datum], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    seen: list[Tensor] = []
    one = trainer(engine)

    def keep(_adam: Any) -> None:
        slopes = [parameter.grad for parameter in one.parameters.values()]
        seen.append(torch.cat([slope.flatten() for slope in slopes if slope is not None]))

    monkeypatch.setattr(one, "_update", keep)
    train(engine, rollouts, grad_clip=0, lr=0.0)
    return seen[0]


@pytest.fixture
def rollouts(folder: Path) -> list[Datum]:
    asked = requests(30)
    return data(asked, sample(load(folder), asked), advantages=(0.3, -0.2, 0.1))


def test_the_gradient_is_that_of_float32_within_rounding(folder: Path, rollouts: list[Datum], monkeypatch: pytest.MonkeyPatch) -> None:
    exact = gradient(away_from_zero(load(folder, "float32")), rollouts, monkeypatch)
    ours = gradient(away_from_zero(load(folder, "bfloat16")), rollouts, monkeypatch)
    monkeypatch.setattr(HalfPrecisionLora, "forward", lora.Linear.forward)
    cast = gradient(away_from_zero(load(folder, "bfloat16")), rollouts, monkeypatch)
    gap, usual = (float((found - exact).norm() / exact.norm()) for found in (ours, cast))
    assert ours.dtype == torch.float32
    assert gap < 0.05
    assert gap < 1.5 * usual, "peft's own products in float32 behind a base in bfloat16 are no closer"


def test_only_a_base_in_half_precision_is_changed(folder: Path) -> None:
    for dtype, kind in (("float32", lora.Linear), ("bfloat16", HalfPrecisionLora)):
        layers = [module for module in trainer(load(folder, dtype)).model.modules() if isinstance(module, lora.Linear)]
        assert {type(layer) for layer in layers} == {kind}


def test_it_keeps_no_copy_of_its_input(folder: Path, rollouts: list[Datum], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    for forward in (HalfPrecisionLora.forward, lora.Linear.forward):
        monkeypatch.setattr(HalfPrecisionLora, "forward", forward)
        kept.append(kept_bytes(load(folder, "bfloat16", token_budget=100_000), rollouts))
    assert kept[0] < 0.75 * kept[1]


def kept_bytes(engine: HfEngine, rollouts: list[Datum]) -> int:
    """Return the bytes that a step's forwards keep for its backwards, each storage once, without weights."""
    one = trainer(engine)
    weights = {parameter.untyped_storage().data_ptr() for parameter in one.model.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that its place is not used again
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        one.step(rollouts, LOSS, ADAM)  # in this thread, which the hooks are of
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_a_checkpoint_and_a_disabled_adapter_are_as_ever(folder: Path, rollouts: list[Datum], tmp_path: Path) -> None:
    engine = load(folder, "bfloat16")
    before = wait(engine.score(rollouts, reference=True))
    train(engine, rollouts, lr=1e-2)
    assert wait(engine.score(rollouts, reference=True)) == before
    assert wait(engine.score(rollouts, reference=False)) != before
    wait(engine.save(tmp_path))
    fresh = load(folder, "bfloat16")
    wait(fresh.load(tmp_path))
    assert wait(fresh.score(rollouts, reference=False)) == wait(engine.score(rollouts, reference=False))
    assert train(fresh, rollouts) == train(engine, rollouts)
