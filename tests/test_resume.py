"""A run killed at any moment ends like an unbroken one: real processes, really killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from loop_fixtures import SHAPE, adapter, make_config, make_scripted_config, rows, run
from patience import PATIENCE_S
from pydantic_core import to_json
from resume_fixtures import PulledError, PullsThePlug, check_same_rollouts, summary
from scripted_engine import ScriptedEngine

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.config.version_1 import first_form
from espl_bench.errors import RunDirError, UsageError
from espl_bench.monitoring.reporter import Silent, StepReport
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.utils.stop_signal import InterruptedRunError

STEPS = 6
CHOICES = {"steps": STEPS, "eval_every": 3, "eval_samples": 3, "crossover_prob": 0.5}
"""Long enough in every phase for a signal to arrive in it."""


@pytest.fixture(scope="module")
def unbroken(lab_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    run(make_config(lab_model, **CHOICES), folder)
    return folder


def start(model: Path, folder: Path) -> subprocess.Popen[str]:
    config = make_config(model, **CHOICES)
    names = dict.fromkeys(("model", *SHAPE, *CHOICES))
    values = config.method.__dict__ | config.flat()
    options = [f"--{name.replace('_', '-')}={values[name]}" for name in names]
    command = [sys.executable, "-m", "espl_bench", "run", "--method=espl", "--quiet", f"--out={folder}", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def struck(model: Path, folder: Path, with_signal: signal.Signals, when: Callable[[], bool], still: Callable[[], bool]) -> tuple[int, str]:
    """A run that got a signal at the first moment that `when` was true, early enough that it is `still` unfinished.

    A busy machine may let the moment pass: then another run is started. Returns exit code and stderr.
    """
    err = ""
    for _ in range(4):
        shutil.rmtree(folder, ignore_errors=True)
        process = start(model, folder)
        while process.poll() is None:
            if when():
                os.kill(process.pid, with_signal)
                break
            time.sleep(0.001)
        out, err = process.communicate(timeout=PATIENCE_S)
        if still():
            assert out == ""
            return process.returncode, err
    raise AssertionError(f"the run was always quicker than the signal; the last one said: {err}")


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def check_same_end(folder: Path, unbroken: Path) -> None:
    for log in (Log.METRICS, Log.POPULATION, Log.EVALUATIONS):
        assert log.path(folder).read_bytes() == log.path(unbroken).read_bytes()
    assert adapter(folder) == adapter(unbroken)
    check_same_rollouts(folder, unbroken)
    assert summary(folder) == summary(unbroken)


def unfinished(folder: Path) -> Callable[[], bool]:
    return lambda: not (folder / "summary.json").exists()


def test_begun_by_a_version_with_flat_configurations_it_goes_on(unbroken: Path, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    flat = to_json(first_form(RunDir(folder).config()), indent=2)
    (folder / "config.json").write_bytes(flat)
    (folder / "summary.json").unlink()
    shutil.rmtree(max((folder / "checkpoints").iterdir()))
    runner.resume(folder)
    check_same_end(folder, unbroken)
    assert (folder / "config.json").read_bytes() == flat


def test_killed_before_its_first_commit_it_starts_anew(lab_model: Path, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "run"
    code, _ = struck(lab_model, folder, signal.SIGKILL, (folder / "config.json").exists, unfinished(folder))
    assert code == -signal.SIGKILL
    for commit in (folder / "checkpoints").glob("*"):
        shutil.rmtree(commit)  # a commit is one rename: without it, this is the moment before
    assert invoke(["resume", str(folder), "--quiet"]) == 0
    check_same_end(folder, unbroken)


def test_killed_between_commits_it_goes_on_from_the_last(lab_model: Path, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "run"
    metrics = folder / "metrics.jsonl"
    code, _ = struck(lab_model, folder, signal.SIGKILL, lambda: lines(metrics) >= 3, lambda: lines(metrics) < STEPS)
    assert code == -signal.SIGKILL
    commit = RunDir(folder).last_commit()
    assert commit is not None and 2 <= commit.step < STEPS
    command = [sys.executable, "-m", "espl_bench", "resume", str(folder), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    check_same_end(folder, unbroken)


def test_killed_in_the_final_evaluation_it_evaluates_again(lab_model: Path, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "run"
    last = folder / f"checkpoints/step_{STEPS:06d}/commit.json"
    code, _ = struck(lab_model, folder, signal.SIGKILL, last.exists, unfinished(folder))
    assert code == -signal.SIGKILL
    assert lines(folder / "metrics.jsonl") == STEPS
    assert invoke(["resume", str(folder), "--quiet"]) == 0
    check_same_end(folder, unbroken)


def test_ctrl_c_stops_after_saving_and_names_the_way_on(lab_model: Path, unbroken: Path, tmp_path: Path):
    folder = tmp_path / "run"
    metrics = folder / "metrics.jsonl"
    code, err = struck(lab_model, folder, signal.SIGINT, lambda: lines(metrics) >= 2, lambda: lines(metrics) < STEPS)
    commit = RunDir(folder).last_commit()
    assert commit is not None and commit.step == lines(metrics)
    said = f"espl-bench: stopped after step {commit.step}, everything is saved; continue with: espl-bench resume {folder}\n"
    assert (code, err) == (1, said)
    assert invoke(["resume", str(folder), "--quiet"]) == 0
    check_same_end(folder, unbroken)


def test_a_finished_run_resumed_ends_the_same(unbroken: Path, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(unbroken, folder)
    runner.resume(folder)
    check_same_end(folder, unbroken)


def test_a_changed_configuration_is_refused_with_the_difference_shown(lab_model: Path, unbroken: Path):
    before = {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()}
    with pytest.raises(UsageError) as refusal:
        runner.resume(unbroken, wanted=make_config(lab_model, **CHOICES | {"lr": 0.5, "shown": "newest"}))
    assert "lr 0.001 -> 0.5" in str(refusal.value)
    assert "method.shown best -> newest" in str(refusal.value)
    assert before == {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()}
    runner.resume(unbroken, wanted=make_config(lab_model, **CHOICES))


class Interrupts(Silent):
    def stepped(self, report: StepReport) -> None:
        if report.step == 3:
            signal.raise_signal(signal.SIGTERM)


def test_a_stop_between_two_checkpoints_is_saved_where_it_stopped(tmp_path: Path):
    config = make_scripted_config(steps=9, checkpoint_every=100)
    run(config, tmp_path / "unbroken", ScriptedEngine())
    with pytest.raises(InterruptedRunError) as stop:
        runner.run(config, tmp_path / "stopped", reporter=Interrupts(), engine=ScriptedEngine())
    assert 3 <= stop.value.step <= 4
    commit = RunDir(tmp_path / "stopped").last_commit()
    assert commit is not None and commit.step == stop.value.step
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "signals are as they were"
    runner.resume(tmp_path / "stopped", engine=ScriptedEngine())
    assert summary(tmp_path / "stopped") == summary(tmp_path / "unbroken")


@pytest.mark.parametrize("after", range(1, 8))
def test_stopped_after_any_step_it_ends_the_same(after: int, tmp_path: Path):
    config = make_scripted_config(steps=7, eval_every=2, checkpoint_every=3, population_size=3, crossover_prob=0.5)
    run(config, tmp_path / "unbroken", ScriptedEngine())
    with pytest.raises(PulledError):
        runner.run(config, tmp_path / "broken", reporter=PullsThePlug(after), engine=ScriptedEngine())
    with pytest.raises(PulledError):
        runner.resume(tmp_path / "broken", reporter=PullsThePlug(after), engine=ScriptedEngine())
    runner.resume(tmp_path / "broken", engine=ScriptedEngine())
    for log in (Log.METRICS, Log.POPULATION, Log.EVALUATIONS):
        assert log.path(tmp_path / "broken").read_bytes() == log.path(tmp_path / "unbroken").read_bytes()
    check_same_rollouts(tmp_path / "broken", tmp_path / "unbroken")
    assert summary(tmp_path / "broken") == summary(tmp_path / "unbroken")


def test_a_resumed_run_reports_the_speed_of_its_own_steps(tmp_path: Path):
    config = make_scripted_config("rl_only", steps=6)
    with pytest.raises(PulledError):
        runner.run(config, tmp_path, reporter=PullsThePlug(5), engine=ScriptedEngine())
    runner.resume(tmp_path, engine=ScriptedEngine())
    timing, sampled = rows(tmp_path, Log.TIMING), rows(tmp_path, Log.METRICS)
    for row, step in zip(timing, sampled, strict=True):
        assert row["tokens_per_second"] * row["seconds"] == pytest.approx(step["generated_tokens"])


def test_a_second_start_in_the_folder_names_the_way_on(unbroken: Path, lab_model: Path):
    with pytest.raises(RunDirError, match=f"resume it with `espl-bench resume {unbroken}`"):
        run(make_config(lab_model, **CHOICES), unbroken)
