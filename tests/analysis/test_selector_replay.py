"""Selectors on recorded rollouts: regret is 0 where it must be, larger for the worse, and nothing held out is shown."""

import json
import shutil
from pathlib import Path

import pytest
from loop_fixtures import make_scripted_config, run
from scripted_engine import ScriptedEngine

from espl_bench.analysis import selector_replay
from espl_bench.analysis.selector_replay import Recorded, regrets, replay
from espl_bench.cli.app import invoke
from espl_bench.method import ESPL
from espl_bench.registry import SELECTORS, names
from espl_bench.runs.population_events import BornEvent
from espl_bench.runs.run_dir import RunDir

PROBLEMS = tuple(f"p{number}" for number in range(8))


def recorded(worths: dict[int, float], births: dict[int, int], steps: int = 30) -> Recorded:
    """Prompts that always earn what they are worth, born after these steps."""
    born = {step: [BornEvent(step, prompt, "mutation", (0,), (f"p{prompt}",), 25.0, 8.4, ())] for prompt, step in births.items()}
    rewards = {prompt: {problem: [worth] for problem in PROBLEMS} for prompt, worth in worths.items()}
    return Recorded(ESPL, 2, 4, 3, 1.0, 0.01, steps, ("root",), born, rewards, worths)


def test_one_prompt_has_no_regret():
    assert all(replay(recorded({0: 0.4}, {}), name, 0) == selector_replay.Regret(0.0, 0.0) for name in names(SELECTORS))


def test_a_selector_that_learns_has_less_regret_than_one_that_does_not():
    run = recorded({0: 0.1, 1: 0.9, 2: 0.2, 3: 0.3, 4: 0.1}, {1: 1, 2: 2, 3: 3, 4: 4})
    found = regrets([run], ["uniform", "top_plus_random", "thompson", "moving_average", "pareto"], 10, lambda done, total: None)
    rollout = {name: each[0].rollout for name, each in found.items()}
    assert all(rollout[name] < rollout["uniform"] - 0.03 for name in rollout if name != "uniform"), rollout
    assert all(each[0].final < 0.05 for each in found.values()), "ratings find the best in the end"


def test_a_replay_repeats_itself_and_its_draws_differ():
    rewards = {0: {p: [0.0, 1.0] for p in PROBLEMS}, 1: {p: [0.0, 1.0, 1.0] for p in PROBLEMS}}
    run = Recorded(ESPL, 1, 4, 3, 1.0, 0.01, 20, ("root",), recorded({}, {1: 1}).births, rewards, {0: 0.5, 1: 0.67})
    assert replay(run, "thompson", 3) == replay(run, "thompson", 3)
    assert len({replay(run, "thompson", draw).rollout for draw in range(10)}) > 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    run(make_scripted_config("evolution_only", steps=16, batch_size=8), out, ScriptedEngine())
    return out


def test_the_two_halves_share_no_problem(folder: Path):
    run_dir = RunDir(folder)
    seen, unseen = selector_replay._halves(run_dir, run_dir.rollout_steps())
    problems = [{problem for row in half.values() for problem in row} for half in (seen, unseen)]
    assert problems[0] and problems[1] and not problems[0] & problems[1]
    found = Recorded.of(run_dir)
    assert found.steps == 16 and set(found.scores) <= set(found.seen) and len(found.scores) > 2


def test_a_step_far_behind_the_others_is_no_work(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    (copy / "rollouts" / "step_000001.jsonl").rename(copy / "rollouts" / "step_999999.jsonl")
    assert invoke(["selectors", str(copy), "--draws=2"]) == 1
    assert "has no rollouts of step 1, so its selections cannot be replayed" in capsys.readouterr().err


def test_the_command_prints_every_selector(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert invoke(["selectors", str(folder), str(folder), "--draws=2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["selectors"]) == set(names(SELECTORS)) and [row["steps"] for row in found["runs"]] == [16, 16]
    assert all(len(each["by_run"]) == 2 and each["rollout"] >= 0 for each in found["selectors"].values())
    assert invoke(["selectors", str(folder), "--draws=2"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in names(SELECTORS)) and "on problems no selector saw" in shown


@pytest.mark.parametrize("method", ["rl_only", "reflection_only"])
def test_a_run_that_selects_nothing_is_refused(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run(make_scripted_config(method, steps=2), tmp_path, ScriptedEngine())
    assert invoke(["selectors", str(tmp_path)]) == 2
    assert f"{method} selects no prompts, so there is nothing to replay" in capsys.readouterr().err
