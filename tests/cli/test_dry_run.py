"""`--dry-run`: what a run would take is counted as the loop makes it, measured on two steps, and leaves nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cli_fixtures import make_config
from engines_fixtures import make_model
from espl_baselines.base import BASE
from espl_baselines.reflection_only import REFLECTION_ONLY
from espl_baselines.rl_only import RL_ONLY
from patience import PATIENCE_S

from espl_bench.cli.app import invoke
from espl_bench.dry_run.probe import without_contrast
from espl_bench.dry_run.work import estimate, evaluated
from espl_bench.method import ESPL
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.types import Outcome, Split

SIZES = {Split.TRAIN: 256, Split.VALIDATION: 64, Split.TEST: 100}


def test_evaluations_are_counted_as_the_loop_makes_them():
    for steps in range(12):
        for every in range(5):
            in_the_loop = sum(every > 0 and step % every == 0 for step in range(steps))
            assert evaluated(steps, every) == in_the_loop + 1


def test_estimate_of_the_defaults():
    work = estimate(make_config(steps=20, eval_every=10, test_every=0, eval_samples=2, max_tokens=8, editor_max_tokens=4), SIZES)
    assert work.rollouts == 20 * 3 * 10 * 5
    assert work.max_generated_tokens == work.rollouts * 8
    assert work.evaluations == {"validation": 3, "test": 1}
    assert work.eval_rollouts == 2 * (3 * 64 + 1 * 100)
    assert work.max_reflection_calls == 20 * (10 * 5 + 10 + 1 + 1)
    assert work.max_reflection_tokens == work.max_reflection_calls * 4


def test_estimate_of_methods_that_do_less():
    static = estimate(make_config(method=BASE), SIZES)
    assert (static.steps, static.rollouts, static.max_reflection_calls, static.eval_rollouts) == (0, 0, 0, 4 * 164)
    assert estimate(make_config(method=RL_ONLY), SIZES).max_reflection_calls == 0
    assert estimate(make_config(method=REFLECTION_ONLY, steps=1), SIZES).max_reflection_calls == 61
    assert estimate(make_config(method=ESPL.varied(crossover_prob=0.0), steps=1), SIZES).max_reflection_calls == 61


def test_estimate_knows_that_a_batch_is_no_larger_than_the_split():
    assert estimate(make_config(steps=1, batch_size=1000), SIZES).rollouts == 3 * 256 * 5


def test_dry_run_prints_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    assert invoke(["run", "--dry-run", "--steps", "10"]) == 0
    out, err = capsys.readouterr()
    assert "1,500" in out and err == ""
    assert invoke(["run", "--dry-run", "--steps", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rollouts"] == 1500
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_long_completions_measures_short_ones_and_says_so(capsys: pytest.CaptureFixture[str]):
    options = ["run", "--dry-run", "--method=rl_only", "--steps=10", "--max-tokens=900", "--batch-size=2", "--group-size=2"]
    assert invoke([*options, "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["measured"]
    assert measured["cut_at"] == 256
    assert measured["most_seconds"] > measured["seconds"] > 0
    assert invoke(options) == 0
    assert "cut at 256 to measure" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("earned", "learns"),
    [
        ([("a", 0.0), ("a", 0.0), ("b", 0.0)], False),
        ([("a", 1.0), ("a", 1.0), ("b", 0.0), ("b", 0.0)], False),
        ([("a", 0.3), ("a", 0.3)], False),
        ([("a", 1.0), ("a", 0.0), ("b", 0.0)], True),
        ([("a", 1.0), ("a", -1.0)], True),
    ],
    ids=["all wrong", "a problem right, a problem wrong", "partial", "one right, one wrong", "a mean of 0"],
)
def test_a_step_teaches_by_rewards_that_differ_within_a_problem(earned: list[tuple[str, float]], learns: bool):
    rows = [RolloutRow(problem, "q", "a", 0, 0, 0, ("t",), reward, Outcome.WRONG, None, 1, None) for problem, reward in earned]
    failed = RolloutRow("a", "q", "a", 0, 0, 0, (), 7.0, Outcome.ERROR, None, 0, "down")
    assert without_contrast([*rows, failed]) == (not learns)


def test_a_dry_run_whose_rollouts_earn_the_same_says_that_steps_may_take_longer(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    size = ("--steps=3", "--batch-size=2", "--group-size=2", "--num-prompts=1", "--max-tokens=4", "--eval-samples=1")
    assert invoke(["run", "--dry-run", *size, f"--model={make_model(tmp_path / 'random')}"]) == 0
    assert "so it neither trained nor reflected; a step that does takes longer" in " ".join(capsys.readouterr().out.split())
    assert invoke(["run", "--dry-run", "--steps=3"]) == 0
    assert "takes longer" not in capsys.readouterr().out


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["words", "json"])
def test_ctrl_c_ends_a_dry_run_in_the_middle_of_a_step(form: tuple[str, ...], tmp_path: Path):
    """One step of this takes a minute; the step is not waited for, and its folder is removed."""
    minute = ["--num-prompts=8", "--batch-size=64", "--group-size=32", "--max-tokens=200"]
    command = [sys.executable, "-m", "espl_bench", "run", "--dry-run", *minute, *form]
    variables = {**os.environ, "TMPDIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=variables)
    until = time.monotonic() + PATIENCE_S
    while not list(tmp_path.glob("espl-bench-*/probe/config.json")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1.0)  # into the sampling
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    while process.poll() is None:
        assert time.monotonic() < until
        with suppress(FileNotFoundError):  # it is being removed
            assert not any(path.read_bytes() for path in tmp_path.glob("espl-bench-*/probe/timing.jsonl")), "the step was waited for"
        time.sleep(0.05)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (130, "espl-bench: interrupted; the time was not measured\n")
    assert ("983,040" in out) is not bool(form), "counts are printed first, or no half of a record"
    assert list(tmp_path.glob("espl-bench-*")) == []
