"""vLLM beside a trainer over two devices, here two processes on the CPU."""

from pathlib import Path

import psutil
import pytest
from engine_calls import data, sample, sample_reference, wait

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.engine import AdamParams
from espl_bench.engines.vllm.engine import VllmEngine
from espl_bench.learning.losses import default_loss
from espl_bench.types import SampleRequest

LOSS = default_loss("importance_sampling")


def test_it_serves_what_two_processes_train(lab_model: Path, tmp_path: Path) -> None:
    spec = AdapterSpec(rank=4, alpha=8.0, seed=0, device="cpu,cpu", token_budget=200)
    engine = VllmEngine.from_pretrained(str(lab_model), spec)
    asked = [SampleRequest(tuple(range(6, 20 + index)), 7 + index, 12, 1.0) for index in range(9)]
    before = sample_reference(engine, asked)
    for _ in range(2):  # each is published, and proved to be what is trained
        metrics = wait(engine.train_step(data(asked, sample(engine, asked)), LOSS, AdamParams(lr=0.01)))
        assert metrics["logprob_gap"] < 1e-4 and metrics["skipped_steps"] == 0
    assert sample_reference(engine, asked) == before
    [drawn] = data(asked[:1], sample(engine, asked[:1]))
    [scored] = wait(engine.score([drawn], reference=False))
    assert drawn.logprobs_T[-len(scored) :] == pytest.approx(scored, abs=1e-4)
    wait(engine.save(tmp_path))
    assert (tmp_path / "optimizer.safetensors").is_file()
    ranks = [process for process in psutil.Process().children() if "sharding.rank" in " ".join(process.cmdline())]
    assert len(ranks) == 2
    wait(engine.close())
    assert not any(process.is_running() for process in ranks)
