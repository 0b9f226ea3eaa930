"""What a row can say beyond the paper: schedules, acceptance rules, several children, and the history that selectors see."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from loop_fixtures import events, make_scripted_config, rows, run
from scripted_engine import ScriptedEngine

from espl_bench.config.checks import check_method
from espl_bench.config.resolve import resolve
from espl_bench.dry_run.work import caveats_of
from espl_bench.errors import UsageError
from espl_bench.evolution.acceptance import BEATS_PARENT, Judgement
from espl_bench.evolution.history import Earned, History
from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Child
from espl_bench.evolution.population import Population
from espl_bench.evolution.schedule import Progress, find_schedule
from espl_bench.method import ESPL
from espl_bench.registry import SCHEDULES, names
from espl_bench.runs.run_dir import TRIAL, Log, RunDir
from espl_bench.types import (
    ROOT_ORIGIN,
    Lineage,
    Outcome,
    Problem,
    Rating,
    Split,
    SystemPrompt,
    Trajectory,
    TrajectoryGroup,
)

SHAPE: dict[str, Any] = {"steps": 4, "num_prompts": 2, "batch_size": 4, "group_size": 4, "eval_every": 0, "eval_samples": 1}


def group(problem_id: str, prompt_id: int, rewards: Sequence[float], outcome: Outcome = Outcome.CORRECT) -> TrajectoryGroup:
    problem = Problem(problem_id, Split.TRAIN, 0, "q", "a", gold="a")
    return TrajectoryGroup(problem, prompt_id, tuple(Trajectory(problem, prompt_id, i, (), r, outcome) for i, r in enumerate(rewards)))


# Schedules


def halves(name: str, steps: int = 8, period: int = 2) -> str:
    """One letter a step: b both, w weights, p prompts, n neither."""
    letter = {(True, True): "b", (True, False): "w", (False, True): "p", (False, False): "n"}
    found = [find_schedule(name)(Progress(step, steps, 0, 0), period) for step in range(steps)]
    return "".join(letter[each.weights, each.words] for each in found)


def test_what_each_schedule_lets_learn():
    assert {name: halves(name) for name in names(SCHEDULES)} == {
        "together": "bbbbbbbb",
        "together_then_distil": "bbbbbbww",
        "words_then_distil": "ppppwwww",
        "words_every_period": "wbwbwbwb",
        "alternating": "ppwwppww",
        "prompt_then_weights": "ppppwwww",
        "weights_then_prompt": "wwwwpppp",
        "words_then_weights": "ppppwwww",
        "weights_then_words": "wwwwpppp",
    }


def test_a_run_follows_its_schedule_and_rates_all_along(tmp_path):
    config = make_scripted_config(schedule="words_then_weights", **SHAPE)
    run(config, tmp_path / "run", ScriptedEngine())
    trained = [row["step"] for row in rows(tmp_path / "run", Log.METRICS) if row["train"]]
    bred = [event["step"] for event in events(tmp_path / "run", "born")][1:] + [
        event["step"] for event in events(tmp_path / "run", "rejected")
    ]
    assert trained == [3, 4] and bred and set(bred) <= {1, 2}
    assert [event["step"] for event in events(tmp_path / "run", "rated")] == [1, 2, 3, 4]


# Acceptance


class Rolls:
    """A trial in which every prompt earns the same."""

    def __init__(self, reward: float) -> None:
        self.reward = reward
        self.asked: list[Sequence[str]] = []

    async def roll_out(self, principles: Sequence[str], problems: Sequence[Problem] | None = None) -> tuple[TrajectoryGroup, ...]:
        self.asked.append(principles)
        return (group("train/1", -1, [self.reward] * 2),)


@pytest.mark.parametrize(("reward", "admitted"), [(0.6, True), (0.5, False), (0.4, False)])
def test_a_child_that_must_beat_its_parent_does_or_is_turned_away(reward: float, admitted: bool):
    parent = SystemPrompt(3, ("a",), Rating(), Lineage(ROOT_ORIGIN))
    view = StepView(1, (parent,), (group("train/1", 3, [0.0, 1.0]),), Population((parent,), 4, 4))
    child = Child(("a", "b"), Rating(), Lineage("mutation", (3,), 1), ())
    trial = Rolls(reward)
    judgement = asyncio.run(BEATS_PARENT.judge(child, view, trial))
    assert judgement == Judgement(admitted, f"{reward:.4f} against 0.5000 of prompt 3") and trial.asked == [("a", "b")]


def test_trials_are_metered_stored_and_taken_back_with_their_step(tmp_path):
    folder = tmp_path / "run"
    summary = run(make_scripted_config(acceptance="beats_parent", **SHAPE), folder, ScriptedEngine())
    judged = RunDir(folder).rollout_steps(TRIAL)
    stored = sum(len((folder / "rollouts" / f"trial_{step:06}.jsonl").read_text().splitlines()) for step in judged)
    assert judged and summary.ledger.rollouts == 4 * 2 * 4 * 4 + stored
    decided = [*events(folder, "born")[1:]] + [e for e in events(folder, "rejected") if e["reason"] == "not_accepted"]
    assert decided and all(" against " in event.get("acceptance", event.get("detail", "")) for event in decided)
    first = json.loads((folder / "rollouts" / f"trial_{judged[0]:06}.jsonl").read_text().splitlines()[0])
    assert first["prompt_id"] == -1
    RunDir(folder).restart()
    assert RunDir(folder).rollout_steps(TRIAL) == []


# History


def test_the_history_adds_up_over_steps_and_forgets_who_left():
    root = Population.start(("a",), 2)
    once = root.record([group("p", 0, [1.0, 0.0]), group("q", 0, [1.0])])
    twice = once.record([group("p", 0, [1.0]), group("p", 0, [0.0], Outcome.ERROR)])
    assert twice.history == History({0: {"p": Earned(2.0, 3), "q": Earned(1.0, 1)}}, {0: 2 / 3 + 0.3 * (1 - 2 / 3)})
    assert twice.history.of(0)["p"].mean == pytest.approx(2 / 3) and twice.history.of(7) == {}
    grown = twice.admit(("b",), Rating(), Lineage("mutation", (0,), 1)).record([group("p", 1, [1.0])])
    left = grown.admit(("c",), Rating(), Lineage("mutation", (1,), 2))
    assert set(grown.history.by_prompt) == set(grown.history.recent) == {0, 1}
    assert set(left.history.by_prompt) == set(left.history.recent) == {1}


def test_the_history_survives_its_record_and_older_records_have_none():
    population = Population.start(("a",), 2).record([group("p", 0, [1.0, 0.5])])
    record = json.loads(json.dumps(population.to_json()))
    assert Population.from_json(record) == population
    del record["history"]
    assert Population.from_json(record) == replace(population, history=History())


# Rows that cannot be


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operators": ("root",)}, "unknown operator 'root'"),
        ({"operators": ("mutatoin",)}, "did you mean 'mutation'"),
        ({"selector": "softmx"}, "did you mean 'softmax'"),
        ({"schedule": "alternate"}, "did you mean 'alternating'"),
        ({"acceptance": "beats_parents"}, "did you mean 'beats_parent'"),
        ({"normalisation": "standard_deviatoin"}, "did you mean 'standard_deviation'"),
        ({"baseline": "per_promt"}, "did you mean 'per_prompt'"),
        ({"optimizer": "hill_climb"}, "unknown optimizer 'hill_climb'"),
    ],
)
def test_a_row_with_an_unknown_name_is_refused_when_it_is_resolved(change, message):
    with pytest.raises(UsageError) as caught:
        resolve(ESPL.varied(**change), "rulebook", {})
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("rl_only", {"schedule": "words_then_weights"}, "rl_only does not learn both"),
        ("evolution_only", {"schedule": "alternating"}, "evolution_only does not learn both"),
        ("rl_only", {"acceptance": "beats_parent"}, "rl_only writes none"),
    ],
)
def test_a_choice_without_effect_is_refused(method: str, change: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        resolve(method, "rulebook", change)


def test_an_optimizer_learns_alone():
    with pytest.raises(UsageError, match="has an optimizer, which learns alone"):
        check_method(ESPL.varied(optimizer="anything"))


def test_the_coins_of_a_trial_are_not_those_of_the_rollouts(tmp_path):
    """A control that draws rewards must not give a child the very coins that its parent had."""
    one_prompt = {**SHAPE, "num_prompts": 1}
    config = make_scripted_config(acceptance="beats_parent", control="random-reward", **one_prompt)
    run(config, tmp_path / "run", ScriptedEngine())
    judged = [event.get("acceptance") or event["detail"] for event in events(tmp_path / "run", "born")[1:]]
    judged += [event["detail"] for event in events(tmp_path / "run", "rejected") if event["reason"] == "not_accepted"]
    means = [detail.partition(" of prompt")[0].split(" against ") for detail in judged]
    assert means and any(after != before for after, before in means)


def test_a_plan_says_what_it_does_not_count():
    assert caveats_of(ESPL) == ()
    assert caveats_of(ESPL.varied(acceptance="beats_parent")) == (
        "rollouts that judge children are not counted: problems x group_size for each child",
    )
    assert "reflections are not counted" in caveats_of(ESPL.varied(operators=(), optimizer="theirs"))[0]
