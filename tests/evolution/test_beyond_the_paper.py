"""The rows that go beyond the paper: what their operators, acceptance rule and selector decide, and that their runs resume and verify."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from espl_baselines.espl_contrast import CONTRAST, contrasts_between
from espl_baselines.espl_credit import DOUBT, Doubt
from espl_baselines.espl_niches import NICHES
from espl_baselines.espl_verified import NO_WORSE
from loop_fixtures import check_population, events, make_config, make_scripted_config, rows, run
from resume_fixtures import PulledError, PullsThePlug, check_same_rollouts, summary
from scripted_engine import ScriptedEngine, make_chat, spell

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.evolution.acceptance import Judgement
from espl_bench.evolution.credit import Credit
from espl_bench.evolution.history import History
from espl_bench.evolution.operators.editor import Editor
from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Child, EditLimits, Evidence
from espl_bench.evolution.population import Population
from espl_bench.prompts.dialect import Dialect
from espl_bench.runs.run_dir import TRIAL, Log, RunDir
from espl_bench.seeding import rng_for
from espl_bench.types import (
    ROOT_ORIGIN,
    Completion,
    Lineage,
    Outcome,
    Problem,
    Rating,
    Split,
    StopReason,
    SystemPrompt,
    Trajectory,
    TrajectoryGroup,
    Turn,
)

ROWS = ("espl_contrast", "espl_credit", "espl_verified", "espl_niches", "espl_evidence")
CHAT, LIMITS = make_chat(), EditLimits(attempts=5)
RIGHT, WRONG, FAILED = Outcome.CORRECT, Outcome.WRONG, Outcome.ERROR
DAX, GAP, FEP, ZUP = "dax larger", "dax minus", "fep sum", "zup next"


def prompt(prompt_id: int, *principles: str, parent: int | None = None, mu: float = 25.0) -> SystemPrompt:
    lineage = Lineage(ROOT_ORIGIN) if parent is None else Lineage("mutation", (parent,), 1)
    return SystemPrompt(prompt_id, principles, Rating(mu, 4.0), lineage)


def group(number: int, prompt_id: int, *outcomes: Outcome) -> TrajectoryGroup:
    problem = Problem(f"train/{number}", Split.TRAIN, number, f"3 {number} dax 5 2 = ?", "5 8", gold="answer 5 8")
    said = "dax larger 3 5 = 5 1 2 = 2"
    turn = Turn((1,), Completion(spell(CHAT, said), (0.0,) * 11, said, StopReason.STOP))
    rollouts = [Trajectory(problem, prompt_id, i, (turn,), float(each is RIGHT), each) for i, each in enumerate(outcomes)]
    return TrajectoryGroup(problem, prompt_id, tuple(rollouts))


def view(
    prompts: Sequence[SystemPrompt], groups: Sequence[TrajectoryGroup], step: int = 5, credit: dict[str, Credit] | None = None
) -> StepView:
    members = tuple(sorted(prompts, key=lambda each: each.id))
    return StepView(step, tuple(prompts), tuple(groups), Population(members, members[-1].id + 1, len(members), credit=credit or {}))


@dataclass
class Answers:
    """A client that answers every critique with one edit, and keeps what it was shown."""

    critique: str = "[ ]"
    seen: list[str] = field(default_factory=list)

    async def sample(self, requests):
        texts = [request.messages[0].content for request in requests]
        self.seen.extend(texts)
        said = [self.critique if "truth :" in text or "Attempt 1" in text else "[ ]" for text in texts]
        return [Completion((0,), (0.0,), text, StopReason.STOP) for text in said]


def editor(client: Answers, dialect: str = "compact") -> Editor:
    return Editor(client, CHAT, Dialect.load(dialect), run_seed=0, step=4, temperature=1.0, max_tokens=64)


# Contrast between prompts

BEST, OTHER, THIRD = prompt(4, DAX, FEP), prompt(7, GAP, FEP), prompt(9, FEP)


def between(*groups: TrajectoryGroup, attempts: int = 5):
    found = contrasts_between(view([BEST, OTHER, THIRD], groups), BEST, [each for each in groups if each.prompt_id == 4], attempts)
    return [(case.problem.id, case.rival.id if case.rival else None, [rollout.outcome for rollout in case.rollouts]) for case in found]


def test_a_problem_that_the_best_always_fails_is_shown_with_right_attempts_of_another():
    own = [group(1, 4, *[WRONG] * 5), group(2, 4, RIGHT, WRONG), group(3, 4, *[WRONG] * 5), group(5, 4, FAILED, FAILED)]
    others = [group(number, 7, RIGHT, RIGHT, RIGHT, WRONG, WRONG) for number in (1, 2, 5)] + [group(3, 7, WRONG), group(3, 9, FAILED)]
    assert between(*own, *others) == [("train/1", 7, [RIGHT, RIGHT, WRONG, WRONG, WRONG])], "2 has contrast of its own, 3 nobody solves"


def test_the_right_attempts_are_of_the_prompt_that_has_most():
    assert between(group(1, 4, WRONG), group(1, 7, RIGHT, WRONG), group(1, 9, RIGHT, RIGHT)) == [("train/1", 9, [RIGHT, RIGHT, WRONG])]
    assert between(group(1, 4, WRONG), group(1, 7, RIGHT), group(1, 9, RIGHT)) == [("train/1", 7, [RIGHT, WRONG])], "of equals the better"


@pytest.mark.parametrize("attempts", [1, 2, 3, 8])
def test_both_sides_are_shown_whatever_the_limit(attempts: int):
    [(_, _, shown)] = between(group(1, 4, *[WRONG] * 5), group(1, 7, *[RIGHT] * 5), attempts=attempts)
    assert shown.count(RIGHT) == max(1, attempts // 2) and 0 < shown.count(WRONG) <= max(2, attempts) - shown.count(RIGHT)


def test_the_child_is_the_best_prompts_edited_by_what_the_other_knew():
    client = Answers('[{"op":"modify","id":"G0","principle":"dax minus"}]')
    seen = view([BEST, OTHER], [group(1, 4, WRONG, WRONG), group(1, 7, RIGHT, WRONG)])
    [child] = asyncio.run(CONTRAST.propose(seen, editor(client), LIMITS, rng_for(0, "test")))
    assert isinstance(child, Child) or child.reason == "unchanged"
    assert child.lineage == Lineage("contrast", (4,), 5) if isinstance(child, Child) else child.parent_ids == (4,)
    critique = next(text for text in client.seen if text.startswith("critique"))
    assert critique.splitlines()[1:4] == ["principles :", f"[G0] {DAX}", f"[G1] {FEP}"], "the best prompt's own list is criticised"


@pytest.mark.parametrize("dialect", ["full", "search", "short"])
def test_the_editor_is_told_in_which_principles_the_two_prompts_differ(dialect: str):
    client = Answers()
    seen = view([BEST, OTHER], [group(1, 4, WRONG, WRONG), group(1, 7, RIGHT, WRONG), group(2, 4, RIGHT, WRONG)])
    asyncio.run(CONTRAST.propose(seen, editor(client, dialect), LIMITS, rng_for(0, "test")))
    own, borrowed = (text for text in client.seen if "Attempt 1" in text)
    assert f"says: {GAP}" in borrowed and f"says: {DAX}" in borrowed and f"says: {FEP}" not in borrowed
    assert "right ones under another" in borrowed and "right ones under another" not in own


# Doubt


def doubted(doubt: Doubt, credit: dict[str, Credit], step: int = 5) -> list[Child]:
    seen = view([prompt(4, DAX, FEP, ZUP)], [group(1, 4, RIGHT)], step, credit)
    found = asyncio.run(doubt.propose(seen, editor(Answers()), LIMITS, rng_for(0, "test")))
    return [child for child in found if isinstance(child, Child)]


def test_the_principle_that_evidence_is_most_against_is_left_out_and_the_edit_says_why():
    credit = {DAX: Credit(5, 4.0, 5, 0.0, 4, 0), FEP: Credit(9, 0.0, 8, 3.0, 0, 3), ZUP: Credit(2, 0.0, 2, 1.0, 0, 1)}
    [child] = doubted(Doubt(most=1, every=1), credit)
    assert child.principles == (DAX, ZUP) and child.lineage == Lineage("doubt", (4,), 5)
    assert child.evidence == (Evidence("remove", (1,), FEP, "credit", credit[FEP].told()),)
    assert "earned 0 in 9 rollouts with it, 3 in 8 without it" in child.evidence[0].reason


def test_one_without_evidence_is_in_doubt_and_well_supported_ones_are_not():
    well = Credit(5, 4.0, 5, 0.0, better=9)
    [child] = doubted(Doubt(most=2, every=1), {DAX: well, FEP: well})
    assert child.principles == (DAX, FEP)
    assert "0 rollouts with it" in child.evidence[0].reason
    assert doubted(Doubt(every=1), {DAX: well, FEP: well, ZUP: well}) == []


def test_doubt_keeps_its_interval_and_asks_no_editor():
    assert [step for step in range(1, 9) if doubted(Doubt(every=3), {}, step)] == [3, 6]
    assert DOUBT.max_calls(10, 5, LIMITS) == 0


def test_a_prompt_is_not_copied_without_all_that_it_says():
    seen = view([prompt(4, DAX)], [group(1, 4, WRONG)])
    assert asyncio.run(Doubt(every=1).propose(seen, editor(Answers()), LIMITS, rng_for(0, "test"))) == []


# Verified children


class Rolls:
    """A trial in which every prompt earns the same."""

    def __init__(self, reward: float) -> None:
        self.reward = reward
        self.asked: list[str] = []

    async def roll_out(self, principles: Sequence[str], problems: Sequence[Problem] | None = None) -> tuple[TrajectoryGroup, ...]:
        assert problems is not None
        self.asked = [problem.id for problem in problems]
        return tuple(
            TrajectoryGroup(each, -1, (Trajectory(each, -1, 0, (), self.reward, RIGHT if self.reward else WRONG),)) for each in problems
        )


@pytest.mark.parametrize(("reward", "admitted"), [(1.0, True), (0.0, False)])
def test_a_child_is_tried_on_the_problems_of_its_edits_first(reward: float, admitted: bool):
    groups = [group(number, 4, WRONG) for number in (1, 2, 3)] + [group(5, 4, RIGHT, WRONG), group(1, 7, RIGHT)]
    edits = tuple(Evidence("add", (), DAX, source, "") for source in ("train/5", "aggregation", "train/3", "train/5"))
    trial = Rolls(reward)
    judgement = asyncio.run(
        NO_WORSE.judge(Child((DAX,), Rating(), Lineage("mutation", (4,), 5), edits), view([BEST, OTHER], groups), trial)
    )
    assert trial.asked == ["train/5", "train/3", "train/1"]
    assert judgement == Judgement(admitted, f"{reward:.4f} against 0.2500 of prompt 4 on 3 problems")


def test_a_child_as_good_as_its_parent_joins():
    child = Child((DAX,), Rating(), Lineage("mutation", (4,), 5), ())
    assert asyncio.run(NO_WORSE.judge(child, view([BEST], [group(1, 4, WRONG)]), Rolls(0.0))).admitted


# Niches


def test_prompts_that_share_a_parent_compete_for_one_place():
    window = [
        prompt(0),
        prompt(1, parent=0, mu=30),
        prompt(2, parent=0, mu=28),
        prompt(3, parent=0, mu=29),
        prompt(4, parent=2, mu=20),
        prompt(5, parent=0, mu=10),
    ]
    seen = {each.id for seed in range(50) for each in NICHES.select(window, History(), 3, rng_for(seed, "test"))}
    assert seen == {0, 1, 4, 5}, "of the children of 0 the best, and the newest"


@pytest.mark.parametrize("num_prompts", [1, 2, 3, 5])
def test_siblings_fill_places_that_are_left(num_prompts: int):
    window = [prompt(1, parent=0, mu=30), prompt(2, parent=0, mu=28), prompt(3, parent=0, mu=29)]
    chosen = NICHES.select(window, History(), num_prompts, rng_for(0, "test"))
    assert len(chosen) == num_prompts and chosen[0].id == 1
    assert {each.id for each in chosen} == {1: {1}, 2: {1, 3}, 3: {1, 2, 3}, 5: {1, 2, 3}}[num_prompts]


# Whole runs


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("after", [2, 5])
def test_a_broken_run_ends_like_an_unbroken_one(name: str, after: int, tmp_path: Path):
    config = make_scripted_config(name, steps=7, eval_every=2, checkpoint_every=3, population_size=4, crossover_prob=0.5)
    run(config, tmp_path / "unbroken", ScriptedEngine())
    with pytest.raises(PulledError):
        runner.run(config, tmp_path / "broken", reporter=PullsThePlug(after), engine=ScriptedEngine())
    runner.resume(tmp_path / "broken", engine=ScriptedEngine())
    for log in (Log.METRICS, Log.POPULATION, Log.EVALUATIONS):
        assert log.path(tmp_path / "broken").read_bytes() == log.path(tmp_path / "unbroken").read_bytes()
    check_same_rollouts(tmp_path / "broken", tmp_path / "unbroken")
    assert summary(tmp_path / "broken") == summary(tmp_path / "unbroken")
    check_population(tmp_path / "unbroken")


def test_on_the_lab_model_they_use_their_operators_verify_and_tabulate(lab_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    choices = {"steps": 6, "batch_size": 8, "crossover_prob": 0.5}
    for name in ROWS:
        run(make_config(lab_model, name, **choices), tmp_path / name)
    assert {row["origin"] for row in events(tmp_path / "espl_evidence", "born")} >= {"root", "contrast"}
    spent = {name: json.loads((tmp_path / name / "summary.json").read_text())["ledger"]["rollouts"] for name in ROWS}
    trials = sum(
        len((tmp_path / "espl_verified" / "rollouts" / f"trial_{step:06}.jsonl").read_text().splitlines())
        for step in RunDir(tmp_path / "espl_verified").rollout_steps(TRIAL)
    )
    assert trials and spent == {name: 6 * 3 * 8 * 4 + (trials if name == "espl_verified" else 0) for name in ROWS}
    folders = [str(tmp_path / name) for name in ROWS]
    assert [invoke(["verify", folder, "--quiet"]) for folder in folders] == [0] * len(ROWS)
    capsys.readouterr()
    assert invoke(["table", *folders]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in ROWS)


def test_the_evidence_stands_beside_each_principle(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run(make_scripted_config("espl_credit", steps=8), tmp_path / "run", ScriptedEngine())
    capsys.readouterr()
    assert invoke(["show", str(tmp_path / "run"), "--json"]) == 0
    prompts = json.loads(capsys.readouterr().out)["prompts"]
    assert all(len(each["credit"]) == len(each["principles"]) for each in prompts)
    told = [line for each in prompts if each["lives"] for line in each["credit"] if line]
    assert told and all("rollouts with it" in line for line in told)
    assert not any(line for each in prompts if not each["lives"] for line in each["credit"])
    assert invoke(["show", str(tmp_path / "run"), "--prompts"]) == 0
    assert "alone right on" in capsys.readouterr().out
    assert len(rows(tmp_path / "run", Log.METRICS)) == 8
