"""GEPA: the package's decisions, on this harness's rollouts, editor and budget."""

import asyncio
import json
import random
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from espl_baselines import gepa
from espl_baselines.gepa import MINIBATCH, SLOTS, candidate_of, principles_of
from loop_fixtures import events, last_commit, make_config, make_scripted_config, rows, run
from resume_fixtures import PulledError, PullsThePlug, check_same_rollouts, summary
from scripted_engine import ScriptedEngine

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.errors import UsageError
from espl_bench.evolution.operators.proposal import Child
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import Lineage, Outcome, Problem, Rating, Split, Trajectory, TrajectoryGroup
from espl_bench.utils.jsonl import decode

pytest.importorskip("gepa")
SHAPE = {"steps": 12, "num_prompts": 3, "batch_size": 4, "group_size": 5}
BUDGET = 12 * 3 * 4 * 5
LOGS = (Log.METRICS, Log.POPULATION, Log.EVALUATIONS)


def rollouts(folder: Path) -> list[list[dict]]:
    return [RunDir(folder).read_rollouts(step, decode) for step in RunDir(folder).rollout_steps()]


def test_the_principles_of_a_candidate_keep_their_slots():
    first = candidate_of(["a", "b", "c"])
    assert [first[slot] for slot in range(4)] == ["a", "b", "c", ""] and len(first) == SLOTS
    changed = candidate_of(["a", "B", "c", "d"], first)
    assert [changed[slot] for slot in range(3)] == ["a", "B", "c"] and sorted(filter(None, changed.values())) == ["B", "a", "c", "d"]
    dropped = candidate_of(["c"], first)
    assert principles_of(dropped) == ("c",) and dropped[2] == "c"
    assert principles_of(first | {9: "a"}) == ("a", "b", "c"), "each once"


def test_different_additions_have_different_slots_and_equal_ones_the_same():
    first = candidate_of(["a"])
    d, e = candidate_of(["a", "d"], first), candidate_of(["a", "e"], first)
    [of_d], [of_e] = ([slot for slot in first if one[slot] != first[slot]] for one in (d, e))
    assert of_d != of_e and candidate_of(["a", "d"], first) == d
    full = candidate_of([f"p{number}" for number in range(SLOTS)], first)
    assert sorted(full.values()) == sorted(f"p{number}" for number in range(SLOTS))


class TwoRules:
    """A harness with three kinds of problems: two need a principle each, the third none at all, so that the root stays in the front."""

    root, seed, group_size, limits, restored = (), 0, 1, None, None

    def __init__(self) -> None:
        self.training = tuple(Problem(f"train/{i}", Split.TRAIN, i, "q", str(i % 3), "") for i in range(12))
        self.validation = tuple(Problem(f"validation/{i}", Split.VALIDATION, i, "q", str(i % 3), "") for i in range(12))
        self.rollouts_left = 600
        self.ids: dict[tuple[str, ...], int] = {(): 0}
        self.lineage: dict[tuple[str, ...], tuple[int, ...]] = {}

    async def roll_out(self, principles, problems, samples=1, parents=()):
        if principles not in self.ids:
            self.ids[principles] = len(self.ids)
            self.lineage[principles] = tuple(parents)
        self.rollouts_left -= len(problems) * samples
        return tuple(self._group(problem, principles) for problem in problems)

    def _group(self, problem, principles):
        right = f"rule {problem.answer}" in principles or (problem.answer == "2" and not principles)
        rollout = Trajectory(problem, self.ids[principles], 0, (), float(right), Outcome.CORRECT if right else Outcome.WRONG)
        return TrajectoryGroup(problem, self.ids[principles], (rollout,))

    async def editor(self):
        return None

    async def checkpoint(self, state):
        json.dumps(state)


def test_a_merge_takes_the_principles_of_both(monkeypatch: pytest.MonkeyPatch):
    async def add_one(birth, groups, editor, limits):
        """Add a principle that a failure needs, but never a second one: only a merge can have both."""
        wanted = [f"rule {group.problem.answer}" for group in groups if not group.graded_rewards[0]]
        [parent] = birth.parents
        if parent.principles or not wanted:
            return birth.rejected("no_edits")
        return Child((wanted[0],), Rating(), Lineage("gepa"), ())

    monkeypatch.setattr(gepa, "mutate", add_one)
    harness = TwoRules()
    best = asyncio.run(gepa.OPTIMIZER.optimise(harness))  # pyright: ignore[reportArgumentType]
    assert set(best) == {"rule 0", "rule 1"}
    parents = {harness.ids["rule 0",], harness.ids["rule 1",]}
    assert set(harness.lineage[tuple(best)]) == parents, "it descends from both"


def test_a_common_ancestor_without_a_point_can_be_drawn():
    """Where the root and its children never earned anything, the package drew by weights that were all 0, and the run ended."""
    from gepa.proposer.merge import find_common_ancestor_pair

    class Answered:
        def answer(self, work):
            work.close()
            return 0, [0.0, 0.0]

    adapter = gepa.Adapter(cast(Any, TwoRules()), cast(Any, Answered()))
    root = candidate_of(())
    candidates: list[Any] = [root, candidate_of(("d",), root), candidate_of(("e",), root)]
    scores = [sum(adapter.evaluate(list(adapter.harness.training[:2]), candidate).scores) / 2 for candidate in candidates]
    drawn = find_common_ancestor_pair(random.Random(0), [[None], [0], [0]], [1, 2], ([], []), scores, candidates)
    assert drawn == (1, 2, 0) and scores[0] == scores[1] == scores[2] < 1e-8


def test_a_validation_pass_and_a_minibatch_are_paid_as_rollouts(tmp_path: Path):
    done = run(make_scripted_config("gepa", **SHAPE), tmp_path, ScriptedEngine())
    calls = rollouts(tmp_path)
    assert done.ledger.rollouts == sum(map(len, calls)) <= BUDGET
    assert BUDGET - done.ledger.rollouts < 2 * MINIBATCH * 5 + 64, "it stops only where an iteration may not fit"
    splits = [{row["problem_id"].split("/")[0] for row in call} for call in calls]
    assert splits[0] == {"validation"} and len(calls[0]) == 64 and {"train"} in splits and {"test"} not in splits
    assert all(len(call) == MINIBATCH * 5 for call, split in zip(calls, splits, strict=True) if split == {"train"})
    assert done.ledger.eval_rollouts == 64 + 100 and done.ledger.train_tokens == 0


def test_a_child_that_is_not_better_on_its_minibatch_does_not_meet_validation(tmp_path: Path):
    run(make_scripted_config("gepa", **SHAPE | {"steps": 30}), tmp_path, ScriptedEngine())
    calls = rollouts(tmp_path)
    passes = {call[0]["prompt_id"] for call in calls if call[0]["problem_id"].startswith("validation") and len(call) == 64}
    born = [event["id"] for event in events(tmp_path, "born")]
    assert 1 < len(passes) < len(born), "some were turned away"
    for parent, child in pairwise(calls):
        same_minibatch = {row["problem_id"] for row in parent} == {row["problem_id"] for row in child}
        if same_minibatch and len(parent) == len(child) == MINIBATCH * 5 and parent[0]["prompt_id"] != child[0]["prompt_id"]:
            better = sum(row["reward"] for row in child) > sum(row["reward"] for row in parent)
            assert (child[0]["prompt_id"] in passes) == better


def test_the_result_is_the_best_on_validation(tmp_path: Path):
    done = run(make_scripted_config("gepa", **SHAPE | {"steps": 30}), tmp_path, ScriptedEngine())
    means = {
        call[0]["prompt_id"]: sum(row["reward"] for row in call) / 64
        for call in rollouts(tmp_path)
        if len(call) == 64 and call[0]["problem_id"].startswith("validation")
    }
    best = max(means, key=lambda prompt: means[prompt])
    [said] = [event["principles"] for event in events(tmp_path, "born") if event["id"] == best]
    assert list(done.shown_prompt) == said and means[best] > means[0]


def test_children_have_parents(tmp_path: Path):
    run(make_scripted_config("gepa", **SHAPE | {"steps": 30}), tmp_path, ScriptedEngine())
    children = events(tmp_path, "born")[1:]
    assert children and all(child["parents"] and child["origin"] == "gepa" for child in children)


@pytest.mark.parametrize("after", [1, 2, 3, 5, 8])
def test_stopped_after_any_call_it_ends_the_same(after: int, tmp_path: Path):
    config = make_scripted_config("gepa", **SHAPE)
    run(config, tmp_path / "unbroken", ScriptedEngine())
    with pytest.raises(PulledError):
        runner.run(config, tmp_path / "broken", reporter=PullsThePlug(after), engine=ScriptedEngine())
    runner.resume(tmp_path / "broken", engine=ScriptedEngine())
    for log in LOGS:
        assert log.path(tmp_path / "broken").read_bytes() == log.path(tmp_path / "unbroken").read_bytes()
    check_same_rollouts(tmp_path / "broken", tmp_path / "unbroken")
    assert summary(tmp_path / "broken") == summary(tmp_path / "unbroken")


def test_what_was_answered_is_not_asked_again(tmp_path: Path):
    config, engine = make_scripted_config("gepa", **SHAPE), ScriptedEngine()
    with pytest.raises(PulledError):
        runner.run(config, tmp_path, reporter=PullsThePlug(6), engine=ScriptedEngine())
    kept = len(RunDir(tmp_path).rollout_steps()) - 1
    commit = last_commit(tmp_path)
    runner.resume(tmp_path, engine=engine)
    asked = [call for call in engine.calls if call.weights == "current"]
    assert commit.step <= kept and len(asked) == len(rows(tmp_path, Log.METRICS)) - commit.step + 2, "and two evaluations"


def test_a_checkpoint_is_json(tmp_path: Path):
    run(make_scripted_config("gepa", **SHAPE), tmp_path, ScriptedEngine())
    state = json.loads((last_commit(tmp_path).folder / "optimizer.json").read_text())
    assert state["state"]["answers"] and not list(tmp_path.rglob("*.bin"))


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gepa.api", None)
    with pytest.raises(UsageError, match=r"method gepa needs gepa.api; install it with: pip install 'espl-bench\[gepa\]'"):
        run(make_scripted_config("gepa", **SHAPE), tmp_path, ScriptedEngine())


def test_a_budget_that_holds_no_validation_pass_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="asked for 64 rollouts with 16 left; give it more --steps"):
        run(make_scripted_config("gepa", steps=1, num_prompts=1, batch_size=4, group_size=4), tmp_path, ScriptedEngine())


@pytest.mark.slow
def test_the_real_model_learns_by_it_and_its_run_is_verified_tabulated_and_published(
    lab_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "run"
    done = run(make_config(lab_model, "gepa", steps=6), folder)
    assert 64 < done.ledger.rollouts <= 6 * 3 * 4 * 4 and done.ledger.reflection_calls > 0
    assert invoke(["verify", str(folder), "--quiet"]) == 0
    assert invoke(["results", "add", str(folder), f"--results={tmp_path / 'results'}", "--quiet"]) == 0
    capsys.readouterr()
    assert invoke(["table", str(folder), "--json"]) == 0
    assert "gepa" in json.dumps(json.loads(capsys.readouterr().out))
