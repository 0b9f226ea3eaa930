"""A trainer on a GPU, but for its kernels: trees under a mask of blocks, chosen by a trial, give the gradient of padded rows."""

from pathlib import Path

import pytest
import torch
from blocks_on_cpu import train_on_blocks
from engine_calls import data, sample
from engines_fixtures import make_model
from hf_calls import load, requests, train, trainer
from model_families import FAMILIES, make_family
from torch._dynamo.utils import counters
from trajectories import forest

from espl_bench.engines.hf.training.packing import sharing_prompts
from espl_bench.engines.hf.training.tree_packing import as_trees
from espl_bench.types import Datum

FAST = ("llama", "mixtral")
OLD_MASKS = ("gpt2",)
"""Families that look at their mask as at a tensor."""
SHORT = Datum((5, 6, 7, 8), (False, False, True, True), (0.0, 0.0, -1.0, -1.0), 1.0, 1.0)


@pytest.mark.parametrize(
    ("checkpointing", "compiled", "graphs"),
    [
        (False, False, 1),
        (True, False, 1),
        pytest.param(False, True, 3, marks=pytest.mark.slow),
        pytest.param(True, True, 3, marks=pytest.mark.slow),
    ],
)
def test_steps_are_those_of_padded_rows_and_little_is_compiled(
    tmp_path: Path, checkpointing: bool, compiled: bool, graphs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph for the attention, and two for layers: the input of the first needs no gradient."""
    folder = make_model(tmp_path, context=1_024)
    padded = load(folder, token_budget=100_000)
    train_on_blocks(monkeypatch)
    tree = load(folder, token_budget=800, gradient_checkpointing=checkpointing, compile_layers=compiled)
    assert trainer(tree)._pack is as_trees
    for rollouts in (forest(0), [SHORT], forest(1), forest(2)):
        assert train(tree, rollouts, lr=1e-3) == pytest.approx(train(padded, rollouts, lr=1e-3), rel=1e-4, abs=1e-5)
    for name, weights in trainer(padded).parameters.items():
        assert torch.allclose(weights, trainer(tree).parameters[name], atol=1e-5)
    assert counters["stats"]["unique_graphs"] <= graphs
    assert not counters["graph_break"]
    for datum in (*forest(3), SHORT):
        assert trainer(tree).score([datum])[0] == pytest.approx(trainer(padded).score([datum])[0], abs=1e-5)
    assert counters["stats"]["unique_graphs"] <= graphs + 2 * compiled, "a score reads without blocks"


@pytest.mark.slow
def test_many_models_in_one_process_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_on_blocks(monkeypatch)
    for width in range(16, 176, 16):
        engine = load(make_model(tmp_path / str(width), width=width))
        assert trainer(engine)._pack is as_trees
    assert counters["stats"]["unique_graphs"] == 10


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in FAMILIES])
@pytest.mark.filterwarnings("ignore:micro-batches are padded:RuntimeWarning")
def test_every_family_that_shares_prompts_is_read_without_padding(
    name: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_family(name, tmp_path)
    padded = load(folder, dtype)
    if trainer(padded)._pack is not sharing_prompts:
        pytest.skip("shares no prompts")
    train_on_blocks(monkeypatch)
    tree = load(folder, dtype)
    assert trainer(tree)._pack is (sharing_prompts if name in OLD_MASKS else as_trees)
    if dtype == "float32":
        asked = requests(12)
        rollouts = data(asked, sample(padded, asked))
        assert train(tree, rollouts, lr=0) == pytest.approx(train(padded, rollouts, lr=0), rel=1e-4, abs=1e-5)
