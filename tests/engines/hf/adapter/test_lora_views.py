"""The policy's linear layers: a snapshot of the adapter beside base weights of any dtype."""

from pathlib import Path

import pytest
import torch
from engine_calls import data, sample
from engines_fixtures import make_model
from hf_calls import load, requests, train
from peft.tuners.lora import LoraLayer
from recorded_steps import Recorder
from torch import nn
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM

from espl_bench.engines.hf.adapter.lora_views import AdaptedLinear, with_adapter

HALF = (torch.bfloat16, torch.float16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def trained_layer(folder: Path, dtype: torch.dtype) -> LoraLayer:
    """A linear layer whose adapter is not zero any more."""
    name = "model.layers.0.mlp.up_proj"
    torch.manual_seed(0)
    layer = with_adapter(AutoModelForCausalLM.from_pretrained(folder, dtype=dtype), 4, 8.0, [name]).get_base_model().get_submodule(name)
    assert isinstance(layer, LoraLayer)
    with torch.no_grad():
        for weights in (layer.lora_A, layer.lora_B):
            nn.init.normal_(next(weights.parameters()), std=0.2)
    return layer


@pytest.mark.parametrize("dtype", HALF)
def test_beside_half_precision_nothing_is_float32(folder: Path, dtype: torch.dtype) -> None:
    lora = trained_layer(folder, dtype)
    adapted = AdaptedLinear(lora.get_base_layer(), lora)
    x = torch.randn(3, 5, 32).to(dtype)
    with torch.inference_mode(), Recorder() as recorder:
        y = adapted(x)
    touched = {leaf.dtype for call in recorder.calls for leaf in tree_leaves(call) if isinstance(leaf, torch.Tensor)}
    assert touched == {dtype}
    exact = AdaptedLinear(lora.get_base_layer().float(), lora)(x.float())
    torch.testing.assert_close(y.float(), exact, atol=0.05, rtol=0.02)


def test_in_float32_the_update_is_added_as_ever(folder: Path) -> None:
    lora = trained_layer(folder, torch.float32)
    down, up = (next(weights.parameters()).detach() for weights in (lora.lora_A, lora.lora_B))
    rows = torch.randn(7, 32)
    with torch.inference_mode():
        expected = torch.addmm(lora.get_base_layer()(rows), rows @ down.t(), up.t() * 2.0)
        assert torch.equal(AdaptedLinear(lora.get_base_layer(), lora)(rows), expected)


def test_sampler_and_trainer_agree_in_bfloat16(folder: Path) -> None:
    engine = load(folder, "bfloat16")
    asked = requests()
    for _ in range(3):
        metrics = train(engine, data(asked, sample(engine, asked)))
        assert metrics["logprob_gap"] < 5e-2
        assert metrics["ratio_mean"] == pytest.approx(1, abs=0.1)
