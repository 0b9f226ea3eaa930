"""Whole runs on an accelerator: every method, a resume, and engine vllm as its users start it."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from loop_fixtures import SHAPE, check_population, loop_methods, make_config, rows, run
from patience import PATIENCE_S

from espl_bench.method import find_method
from espl_bench.runs.run_dir import Log, RunDir

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", loop_methods())
def test_every_method_runs(name: str, device: str, lab_model: Path, tmp_path: Path) -> None:
    summary = run(make_config(lab_model, name, engine="hf", train_device=device, steps=2), tmp_path)
    assert (summary.method, summary.n_items) == (name, 100)
    assert (summary.ledger.train_tokens > 0) == find_method(name).learns_weights
    check_population(tmp_path)
    trained = [row["train"] for row in rows(tmp_path, Log.METRICS) if row.get("train")]
    assert bool(trained) == find_method(name).learns_weights
    gaps = [metrics["logprob_gap"] for metrics in trained if "logprob_gap" in metrics]
    assert gaps or name not in ("espl", "rl_only"), "sampler and trainer are compared"
    assert all(gap < 0.05 for gap in gaps)


def command(folder: Path, engine: str, device: str, *more: str) -> list[str]:
    named = [f"--{name.replace('_', '-')}={value}" for name, value in (SHAPE | {"steps": 6, "checkpoint_every": 1}).items()]
    placed = [f"--train-device={device}"]
    return [sys.executable, "-m", "espl_bench", "run", "--quiet", f"--engine={engine}", f"--out={folder}", *named, *placed, *more]


def finish(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr


def engines() -> list[str]:
    return ["hf", *(["vllm"] if find_spec("vllm") else [])]


@pytest.mark.parametrize("engine", engines())
def test_a_killed_run_goes_on_and_is_verified(engine: str, device: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(command(folder, engine, device), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + PATIENCE_S
    while not (Log.METRICS.path(folder).exists() and len(rows(folder, Log.METRICS)) >= 2):
        assert process.poll() is None and time.monotonic() < until, "it ended or made no steps"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finish([sys.executable, "-m", "espl_bench", "resume", str(folder), "--quiet"])
    assert [row["step"] for row in rows(folder, Log.METRICS)] == list(range(1, 7))
    finish([sys.executable, "-m", "espl_bench", "verify", str(folder)])
    assert not memory_of(process.pid), "the killed run's memory was given back"


def memory_of(process: int) -> str:
    """What the driver says that a process holds; empty without a driver."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader"], capture_output=True, text=True, check=False
        ).stdout
    except FileNotFoundError:
        return ""
    return "".join(line for line in listed.splitlines() if line.split(",")[0].strip() == str(process))


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.parametrize("more", [(), ("--sleep",)])
def test_vllm_samples_what_the_trainer_reads(more: tuple[str, ...], device: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    finish(command(folder, "vllm", device, *more))
    summary = RunDir(folder).summary()
    assert (summary.engine, summary.steps) == ("vllm", 6)
    for row in rows(folder, Log.METRICS):
        assert row["train"]["logprob_gap"] < 0.05
        assert row["train"]["ratio_mean"] == pytest.approx(1, abs=0.05)


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
def test_deterministic_vllm_repeats_a_run(device: str, tmp_path: Path) -> None:
    logs = []
    for name in ("first", "second"):
        finish(command(tmp_path / name, "vllm", device, "--deterministic"))
        logs.append(Log.METRICS.path(tmp_path / name).read_bytes())
    assert logs[0] == logs[1]
