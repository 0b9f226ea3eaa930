"""What lets a model train that is too large for a card, on accelerators: a base in 4 bits, and a trainer over two of them."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from engine_calls import data, sample, wait
from engines_fixtures import make_model
from hf_calls import LOSS, load, requests, train

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.hf.opening import open_learner

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"), width=64)


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_a_base_in_4_bits_is_sampled_and_trained(folder: Path, device: str) -> None:
    engine = load(folder, device=device, quantization="nf4")
    asked = requests()
    rollouts = data(asked, sample(engine, asked))
    metrics = [train(engine, rollouts) for _ in range(4)]
    assert metrics[0]["logprob_gap"] < 5e-2 and all(each["skipped_steps"] == 0 for each in metrics)
    assert metrics[-1]["loss"] < metrics[0]["loss"]


def test_two_devices_take_the_steps_of_one(folder: Path, device: str, tmp_path: Path) -> None:
    if device == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("one card only")
    names = ("cuda:0", "cuda:0,cuda:1") if device == "cuda" else ("cpu", "cpu,cpu")
    one, two = (open_learner(str(folder), AdapterSpec(rank=4, alpha=8.0, seed=0, token_budget=100, device=name)).learner for name in names)
    try:
        engine = load(folder, device=device)
        asked = requests(30)
        rollouts = data(asked, sample(engine, asked))
        for _ in range(3):
            ours, theirs = (wait(learner.train_step(rollouts, LOSS, AdamParams(lr=1e-3))) for learner in (one, two))
            assert theirs["grad_norm"] == pytest.approx(ours["grad_norm"], rel=5e-2)
            assert theirs["logprob_gap"] == pytest.approx(ours["logprob_gap"], abs=2e-2)
        wait(two.save(tmp_path))
        wait(one.load(tmp_path))
    finally:
        two.close()
