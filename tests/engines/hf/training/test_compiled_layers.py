"""Compiled layers take the steps of plain ones, whatever the lengths, and are compiled once."""

import shutil
from pathlib import Path

import pytest
from engine_calls import data, sample
from engines_fixtures import make_model
from hf_calls import load, requests, train
from torch._dynamo.utils import counters

from espl_bench.engines.hf.training.tree_packing import as_trees


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU takes a C++ compiler")
def test_they_take_the_steps_of_plain_ones(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    plain, compiled = load(folder), load(folder, compile_layers=True)
    assert compiled._parts is not None
    compiled._parts.trainer._pack = as_trees  # one forward per micro-batch, as on a GPU
    counters.clear()
    for count in (6, 12, 30):
        asked = requests(count)
        rollouts = data(asked, sample(plain, asked))
        assert train(compiled, rollouts, lr=1e-3) == pytest.approx(train(plain, rollouts, lr=1e-3), rel=1e-4, abs=1e-5)
    assert counters["stats"]["unique_graphs"] in (1, 2), "for both layers and all lengths, but for what a graph takes for granted at first"
    assert not counters["graph_break"]
