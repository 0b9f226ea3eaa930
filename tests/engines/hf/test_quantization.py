"""A base in 4 bits. Without bitsandbytes (`make test-quantized`) only what refuses it is tested."""

# pyright: reportMissingImports=false
# (bitsandbytes is an optional package)

import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from checked import present
from engine_calls import data, sample, wait
from engines_fixtures import make_model
from hf_calls import load, requests, train
from torch import Tensor, nn

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.hf.engine import HfEngine
from espl_bench.engines.hf.merging import export_weights
from espl_bench.errors import ModelError, UsageError
from espl_bench.types import Datum, Message

needs_bitsandbytes = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), width=64)


@pytest.fixture
def full(folder: Path) -> HfEngine:
    return load(folder)


@pytest.fixture
def quantized(folder: Path) -> HfEngine:
    return load(folder, quantization="nf4")


def rollouts(engine: HfEngine) -> list[Datum]:
    asked = requests()
    return data(asked, sample(engine, asked))


def trees(engine: HfEngine) -> tuple[Any, Any, Any]:
    parts = present(engine._parts)
    return parts.trainer.model.get_base_model(), parts.policy.sampler.model, parts.reference.sampler.model


def tensors(tree: nn.Module) -> dict[int, Tensor]:
    """Parameters and the scales of those in 4 bits, by their place in memory."""
    scales = [scale for module in tree.modules() if (scale := getattr(module, "quant_state", None)) is not None]
    found = [*tree.parameters(), *(tensor for scale in scales for tensor in (scale.absmax, scale.state2.absmax))]
    return {tensor.data_ptr(): tensor for tensor in found}


def dequantized(engine: HfEngine) -> None:
    """Put full matrices of the quantised values in place of those in 4 bits: an ordinary model of the same weights."""
    from bitsandbytes import functional

    for tree in trees(engine):
        for parent in list(tree.modules()):
            for name, module in list(parent.named_children()):
                if hasattr(module, "quant_state"):
                    full = nn.Linear(module.in_features, module.out_features, bias=False)
                    full.weight = nn.Parameter(functional.dequantize_4bit(module.weight.data, module.weight.quant_state), False)
                    setattr(parent, name, full)


def test_without_bitsandbytes_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UsageError, match=r"--train-quantization nf4 needs bitsandbytes .*pip install 'espl-bench\[quantized\]'"):
        load(folder, quantization="nf4")


def test_what_is_not_known_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="unknown quantisation 'nf5'; did you mean 'nf4'"):
        load(folder, quantization="nf5")


def test_a_model_that_is_stored_quantised_is_refused(tmp_path: Path) -> None:
    config = make_model(tmp_path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": {"quant_method": "fp8"}}))
    with pytest.raises(UsageError, match="is stored quantised; leave --train-quantization out"):
        load(tmp_path, quantization="nf4")


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    config = make_model(tmp_path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "nothing_known"}))
    with pytest.raises(ModelError, match="cannot load model"):
        load(tmp_path, quantization="nf4")


@needs_bitsandbytes
def test_the_three_trees_share_the_base_and_its_scales(quantized: HfEngine) -> None:
    trainer, policy, reference = (set(tensors(tree)) for tree in trees(quantized))
    assert reference <= trainer and policy <= trainer


@needs_bitsandbytes
def test_a_matrix_takes_an_eighth_of_float32(full: HfEngine, quantized: HfEngine) -> None:
    whole, packed = (
        sum(module.weight.nbytes for module in trees(engine)[2].modules() if isinstance(module, nn.Linear) and module.weight.dim() == 2)
        for engine in (full, quantized)
    )
    output = present(full._parts).reference.sampler.model.lm_head.weight.nbytes
    assert math.isclose((whole - output) / (packed - output), 8, rel_tol=1e-6)
    assert quantized.model_use == full.model_use, "it reaches the same layers, and counts weights, not bytes"


@needs_bitsandbytes
def test_it_trains_on_the_weights_that_it_holds(quantized: HfEngine, folder: Path) -> None:
    """Gradients pass through every layer: also after reading without gradients, when bitsandbytes would rewrite the weights on a CPU."""
    twin = load(folder, quantization="nf4")
    dequantized(twin)
    drawn = rollouts(quantized)
    for _ in range(3):
        ours, theirs = train(quantized, drawn), train(twin, drawn)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


@needs_bitsandbytes
def test_a_sampler_of_full_precision_is_measured_and_learned_from(full: HfEngine, quantized: HfEngine) -> None:
    drawn = rollouts(full)
    metrics = train(quantized, drawn)
    assert 0.01 < metrics["logprob_gap"] < 2.0, "another base, but no other model"
    assert train(full, drawn)["logprob_gap"] < 1e-4
    losses = [train(quantized, drawn)["loss"] for _ in range(4)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < metrics["loss"]


@needs_bitsandbytes
def test_its_own_sampler_reads_the_same_weights(quantized: HfEngine) -> None:
    train(quantized, rollouts(quantized))
    assert train(quantized, rollouts(quantized), lr=0.0)["logprob_gap"] < 1e-4


@needs_bitsandbytes
def test_checkpoints_continue_bit_for_bit_and_fit_either_base(quantized: HfEngine, full: HfEngine, folder: Path, tmp_path: Path) -> None:
    drawn = rollouts(quantized)
    train(quantized, drawn)
    wait(quantized.save(tmp_path))
    again = load(folder, quantization="nf4")
    wait(again.load(tmp_path))
    assert train(again, drawn) == train(quantized, drawn)
    wait(full.load(tmp_path))
    names = (tmp_path / "adapter_config.json").read_text()
    assert "nf4" not in names and "bitsandbytes" not in names


@needs_bitsandbytes
def test_export_merges_into_the_full_base(quantized: HfEngine, folder: Path, tmp_path: Path) -> None:
    train(quantized, rollouts(quantized))
    saved, adapter, model = (tmp_path / name for name in ("saved", "adapter", "model"))
    for path in (saved, adapter, model):
        path.mkdir()
    wait(quantized.save(saved))
    spec = AdapterSpec(rank=4, alpha=8.0, seed=0)
    assert export_weights(str(folder), saved, spec, [Message("user", "w1 w2")], adapter, model, "base") < 1e-3
    merged = load(model)
    assert trees(merged)[2].lm_head.weight.dtype == torch.float32
    assert "quantization_config" not in json.loads((model / "config.json").read_text())
