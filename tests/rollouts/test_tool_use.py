"""Figures about tools: who called, whose calls failed, and where these figures are read."""

import json
from pathlib import Path

import pytest
from cli_fixtures import make_metrics, make_run

from espl_bench.cli.app import invoke
from espl_bench.rollouts.tool_use import mean_tool_use, told, tool_use
from espl_bench.runs.log_rows import EvaluationRow, MetricsRow
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.tools.tool_env import FAILURE, FAULTS
from espl_bench.types import Completion, Observation, Outcome, Problem, Split, StopReason, Trajectory, Turn
from espl_bench.utils import jsonl

PROBLEM = Problem("train/0", Split.TRAIN, 0, "q", "a", "a")
SAID = Completion((1,), (-0.5,), "x", StopReason.STOP)


def rollout(*replies: Observation) -> Trajectory:
    turns = (Turn((1,), SAID), *(Turn((1,), SAID, (reply,)) for reply in replies))
    return Trajectory(PROBLEM, 0, 0, turns, 0.0, Outcome.WRONG)


FOUND, REFUSED = Observation("found", "search"), Observation(f"{FAILURE}no such thing", "search")
MALFORMED, ASKED = Observation(f"{FAILURE}not JSON", FAULTS), Observation("are you sure?")


def test_shares_of_rollouts_that_called_and_of_calls_that_failed():
    assert tool_use([rollout(FOUND, FOUND), rollout(MALFORMED, REFUSED), rollout(), rollout(ASKED)]) == {"called": 0.5, "failed_calls": 0.5}
    assert tool_use([rollout(), rollout(ASKED)]) == {"called": 0.0}, "no calls, of which none can fail"
    assert tool_use([]) == {}


def test_means_over_steps_and_their_words():
    mean = mean_tool_use([{"called": 0.0}, {"called": 0.5, "failed_calls": 0.2}])
    assert mean == {"called": 0.25, "failed_calls": 0.2}
    assert told(mean) == "25.0 % of the rollouts called, 20.0 % of the calls failed"
    assert told({"called": 0.0}) == "0.0 % of the rollouts called" and told({}) == ""


def test_rows_without_tools_are_as_before_and_older_rows_are_read():
    plain = make_metrics(1)
    assert "tools" not in plain.encode()
    called = make_metrics(1, tools={"called": 0.5})
    assert MetricsRow.parse(jsonl.encode(called.encode())) == called
    row = EvaluationRow(1, Split.TEST, 0.5, 0, {}, tools={"called": 0.0})
    assert EvaluationRow.parse(jsonl.encode(row.encode())) == row


def test_show_tells_how_tools_were_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = RunDir(make_run(tmp_path / "run"))
    run.append(Log.METRICS, make_metrics(4, tools={"called": 0.5, "failed_calls": 0.1}).encode())
    run.append(Log.EVALUATIONS, EvaluationRow(4, Split.TEST, 0.5, 0, {}, tools={"called": 0.0}).encode())
    assert invoke(["show", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "training: 50.0 % of the rollouts called, 10.0 % of the calls failed; test: 0.0 % of the rollouts called" in said
    assert invoke(["show", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training_tools"] == {"called": 0.5, "failed_calls": 0.1}
