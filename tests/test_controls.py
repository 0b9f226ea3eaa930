"""Controls take away what a method learns from, and nothing else; a table says where one improves nevertheless."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import make_study, make_summary
from espl_envs.almanac.env import AlmanacEnv
from espl_envs.rulebook.env import RulebookEnv
from loop_fixtures import make_scripted_config, open_run, rows, run, splits_by_question
from scripted_engine import ScriptedEngine
from small_envs import AskTwice, Sums

from espl_bench.build import environment_of
from espl_bench.cli.app import invoke
from espl_bench.controls import FEWEST, IRRELEVANT_PROMPT, RANDOM_REWARD, SHUFFLED_ANSWERS
from espl_bench.environment.text_env import TextEnv, Verdict
from espl_bench.errors import UsageError
from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.optimizer_harness import OptimizerHarness
from espl_bench.prompts.dialect import BUILT_IN, Dialect
from espl_bench.registry import CONTROLS, names
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import Outcome, Split, Trajectory, TrajectoryGroup
from espl_bench.utils.jsonl import decode

SHAPE: dict[str, Any] = {"steps": 2, "eval_samples": 1}


def test_other_answers_are_of_other_training_problems_each_used_once_and_nothing_else_moves():
    plain, shuffled = RulebookEnv(), SHUFFLED_ANSWERS.environment(RulebookEnv(), seed=3)
    size = plain.size(Split.TRAIN)
    own = [plain.problem(Split.TRAIN, index) for index in range(size)]
    other = [shuffled.problem(Split.TRAIN, index) for index in range(size)]
    assert [problem.question for problem in own] == [problem.question for problem in other]
    assert sorted(problem.gold for problem in own) == sorted(problem.gold for problem in other)
    assert all(a.gold != b.gold for a, b in zip(own, other, strict=True))
    assert other == [SHUFFLED_ANSWERS.environment(RulebookEnv(), seed=3).problem(Split.TRAIN, index) for index in range(size)]
    assert other != [SHUFFLED_ANSWERS.environment(RulebookEnv(), seed=4).problem(Split.TRAIN, index) for index in range(size)]
    for split in (Split.VALIDATION, Split.TEST):
        assert shuffled.problem(split, 5) == plain.problem(split, 5)


def test_episodes_are_graded_by_the_other_answer():
    env = SHUFFLED_ANSWERS.environment(RulebookEnv(), seed=0)
    SHUFFLED_ANSWERS.check(env, "rulebook")
    truth = RulebookEnv().problem(Split.TRAIN, 0)
    assert truth.answer != env.problem(Split.TRAIN, 0).answer
    env.reset(options={"split": "train", "index": 0})
    assert env.step(truth.gold)[1] == 0.0
    env.reset(options={"split": "train", "index": 0})
    assert env.step(env.problem(Split.TRAIN, 0).gold)[1] == 1.0


class KnowsItself(RulebookEnv):
    """Grades by what it knows, whatever its problems say."""

    def grade(self, problem, response):
        return super().grade(RulebookEnv.problem(self, problem.split, problem.index), response)


def test_an_environment_that_grades_by_itself_is_refused():
    with pytest.raises(UsageError, match="does not grade by its problems' answers"):
        SHUFFLED_ANSWERS.check(SHUFFLED_ANSWERS.environment(KnowsItself(), seed=0), "own")


def groups(outcome=Outcome.CORRECT):
    problem = RulebookEnv().problem(Split.TRAIN, 0)
    trajectories = tuple(Trajectory(problem, 0, sample, (), 1.0, outcome) for sample in range(400))
    return (TrajectoryGroup(problem, 0, trajectories), TrajectoryGroup(problem, 0, trajectories))


def test_random_rewards_are_fair_coins_with_names_and_spare_what_was_not_graded():
    tossed = RANDOM_REWARD.rewards(groups(), seed=1, step=2)
    heads = [[trajectory.reward for trajectory in group.trajectories_G] for group in tossed]
    assert all(0.4 < sum(each) / len(each) < 0.6 for each in heads) and heads[0] != heads[1]
    assert all((t.reward == 1.0) == (t.outcome is Outcome.CORRECT) for group in tossed for t in group.trajectories_G)
    assert tossed == RANDOM_REWARD.rewards(groups(), seed=1, step=2) != RANDOM_REWARD.rewards(groups(), seed=1, step=3)
    assert RANDOM_REWARD.rewards(groups(Outcome.TIMEOUT), 1, 2) == groups(Outcome.TIMEOUT)


def test_nobody_who_learns_from_a_coin_sees_what_it_could_be_compared_with():
    problem = RulebookEnv().problem(Split.TRAIN, 0)
    rollouts = (
        Trajectory(problem, 0, 0, (), 1.0, Outcome.CORRECT, measures={"f1": 1.0}),
        Trajectory(problem, 0, 1, (), 0.0, Outcome.TIMEOUT, error="slow"),
    )
    [group] = RANDOM_REWARD.rewards((TrajectoryGroup(problem, 0, rollouts),), 1, 2)
    assert group.problem == replace(problem, answer="", gold="")
    assert all(each.problem == group.problem and each.measures == {} for each in group.trajectories_G)
    assert [each.outcome.graded for each in group.trajectories_G] == [True, False]
    assert SHUFFLED_ANSWERS.problem(problem) == problem == IRRELEVANT_PROMPT.problem(problem)


@pytest.mark.parametrize(("control", "told"), [(None, True), ("random-reward", False)])
@pytest.mark.parametrize("summary_shows", ["attempt", "verdict"])
def test_the_editor_of_a_coin_is_not_told_the_truth(control: str | None, told: bool, summary_shows: str, tmp_path: Path):
    engine = ScriptedEngine()
    run(make_scripted_config(control=control, summary_shows=summary_shows, **SHAPE), tmp_path / "run", engine)
    asked = [request.messages[0].content for call in engine.calls for request in call.requests]
    critiques = [text for text in asked if text.startswith("critique")]
    summaries = [text for text in asked if text.startswith("summarise")]
    assert critiques and all(("truth :" in text) == told for text in critiques)
    assert summaries and all(("truth :" in text) == (told and summary_shows == "verdict") for text in summaries)


def test_an_optimizer_under_a_coin_is_given_problems_without_their_answers():
    nothing: Any = None
    for control, told in ((None, True), ("random-reward", False)):
        context = open_run(make_scripted_config("evolution_only", control=control, **SHAPE), ScriptedEngine())
        harness = OptimizerHarness(context, nothing, nothing, nothing)
        assert all(bool(problem.answer and problem.gold) == told for problem in (*harness.training, *harness.validation))


class Shaped(Sums):
    """Gives part of the reward for an answer that is a number."""

    def grade(self, problem, response):
        verdict = super().grade(problem, response)
        return verdict if verdict.outcome is Outcome.CORRECT else replace(verdict, reward=0.25)


class FormatMatters(Sums):
    """Takes something away for no answer."""

    def grade(self, problem, response):
        verdict = super().grade(problem, response)
        return replace(verdict, reward=-1.0) if verdict.outcome is Outcome.NO_ANSWER else verdict


class TellsTheGrade(AskTwice):
    """Says after the first answer whether it was right."""

    def respond(self, problem, action):
        reply, reward, terminated, truncated, info = super().respond(problem, action)
        right = self.sums.grade(problem, action).outcome is Outcome.CORRECT
        told = reply and f"that was {'right' if right else 'wrong'}; are you sure?"
        return told, reward, terminated, truncated, info


class TellsTheTruth(AskTwice):
    """Says what the answer is, whatever was answered."""

    def respond(self, problem, action):
        reply, reward, terminated, truncated, info = super().respond(problem, action)
        truth = self.sums.problem(problem.split, problem.index).answer
        told = reply and f"the answer is {truth}; are you sure?"
        return told, reward, terminated, truncated, info


class AcceptsAnything(Sums):
    """Finds every answer right."""

    def grade(self, problem, response):
        return Verdict.of(Outcome.CORRECT)


class TwiceByItself(AskTwice):
    """Grades the second turn by what it knows, whatever its problems say."""

    def respond(self, problem, action):
        return super().respond(self.sums.problem(problem.split, problem.index), action)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (Shaped, "environment 'own' gives rewards such as 0.25, and a coin only 0 and 1"),
        (FormatMatters, "environment 'own' gives rewards such as -1, and a coin only 0 and 1"),
        (TellsTheGrade, "environment 'own' replies to a right answer otherwise than to a wrong one"),
        (TellsTheTruth, "environment 'own' tells correct answers in its replies"),
    ],
)
def test_a_coin_that_could_not_take_the_rewards_away_is_refused(env: type[TextEnv], words: str):
    with pytest.raises(UsageError) as refusal:
        RANDOM_REWARD.check(env(), "own")
    assert str(refusal.value) == f"{words}, so that random-reward cannot take the rewards away; use another --control"


@pytest.mark.parametrize("env", [Sums, AskTwice, RulebookEnv, AlmanacEnv])
def test_sound_environments_take_both(env: type[TextEnv]):
    RANDOM_REWARD.check(env(), "own")
    SHUFFLED_ANSWERS.check(SHUFFLED_ANSWERS.environment(env(), seed=0), "own")


def test_a_reward_that_is_neither_is_refused_when_it_is_met():
    problem = Sums().problem(Split.TRAIN, 3)
    rollout = Trajectory(problem, 0, 0, (), 0.5, Outcome.WRONG)
    with pytest.raises(UsageError, match=r"a rollout of train/3 earned 0\.5, and a coin gives only 0 and 1, so that random-reward"):
        RANDOM_REWARD.rewards((TrajectoryGroup(problem, 0, (rollout,)),), 0, 0)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (AcceptsAnything, "still accepts or tells its problems' own answers"),
        (TellsTheTruth, "still accepts or tells its problems' own answers"),
        (TwiceByItself, "does not grade by its problems' answers"),
    ],
)
def test_shuffled_answers_that_would_change_nothing_are_refused(env: type[TextEnv], words: str):
    with pytest.raises(UsageError, match=f"environment 'own' {words}; use another --control than shuffled-answers"):
        SHUFFLED_ANSWERS.check(SHUFFLED_ANSWERS.environment(env(), seed=0), "own")


@pytest.mark.parametrize("control", names(CONTROLS))
def test_a_control_is_recorded_and_verifies(control: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "run"
    summary = run(make_scripted_config(control=control, **SHAPE), folder, ScriptedEngine())
    assert summary.control == control == RunDir(folder).summary().control == RunDir(folder).config().control
    assert summary.row == f"espl ({control})"
    assert invoke(["verify", str(folder)]) == 0, capsys.readouterr().out


def test_random_rewards_are_learned_from_and_not_written_down(tmp_path: Path):
    """The rollouts keep their true grades; what prompts are rated by does not follow from them."""
    run(make_scripted_config(control="random-reward", **SHAPE), tmp_path / "run", ScriptedEngine())
    for row in rows(tmp_path / "run", Log.METRICS):
        stored = RunDir(tmp_path / "run").read_rollouts(row["step"], decode)
        true = sum(each["reward"] for each in stored) / len(stored)
        assert row["reward"] == pytest.approx(true)
        assert sum(row["rewards"].values()) / len(row["rewards"]) != pytest.approx(true)


@pytest.mark.parametrize("dialect", sorted(path.name for path in BUILT_IN.iterdir() if path.is_dir()))
def test_every_dialect_has_irrelevant_principles_that_say_nothing_of_the_task(dialect: str):
    irrelevant = Dialect.load(dialect).irrelevant()
    assert len(set(irrelevant)) == len(irrelevant) >= FEWEST
    from espl_envs.rulebook.meanings import MEANINGS, OPERATORS

    assert not {word for principle in irrelevant for word in principle.split()} & {*OPERATORS, *MEANINGS}


def test_the_policy_is_shown_as_many_irrelevant_principles_in_training_and_in_the_test(tmp_path: Path):
    engine = ScriptedEngine()
    told = ("dax larger", "fep sum", "gnp smaller", "kep first", "lom sum")
    config = make_scripted_config(control="irrelevant-prompt", root_principles=told, **SHAPE)
    run(config, tmp_path / "run", engine)
    dialect = Dialect.load("compact")
    wanted = dialect.irrelevant()
    assert IRRELEVANT_PROMPT.principles(told, dialect) == wanted[:5] and len(IRRELEVANT_PROMPT.principles((), dialect)) == FEWEST
    questions = splits_by_question(environment_of(config))
    asked = [r for call in engine.calls for r in call.requests if any(q in r.messages[-1].content for q in questions)]
    shown = {request.messages[0].content for request in asked if request.messages[0].role == "system"}
    assert shown and not any(principle in text for principle in told for text in shown)


def test_a_control_of_a_method_that_learns_nothing_is_refused(capsys: pytest.CaptureFixture[str]):
    assert invoke(["run", "--method", "base", "--control", "random-reward", "--dry-run"]) == 2
    assert "base does not learn from rewards" in capsys.readouterr().err
    assert invoke(["run", "--control", "random-rewards"]) == 2
    assert "did you mean 'random-reward'?" in capsys.readouterr().err


def controlled(scores: float):
    return [make_summary("espl", seed, [scores] * 100, control="random-reward") for seed in range(3)]


def board(*summaries):
    return build_board([GroupEntry(summary.row, summary) for summary in summaries])


def test_a_table_flags_an_environment_on_which_a_control_improves():
    [table] = board(*make_study(), *controlled(0.75)).tables
    [note] = [note for note in table.notes if note.startswith("control improves")]
    assert "espl (random-reward)" in note and "gains on rulebook may not come from rewards" in note
    [table] = board(*make_study(), *controlled(0.0)).tables
    assert not any(note.startswith("control improves") for note in table.notes)


def test_a_control_is_never_called_best_and_has_no_rank():
    with_controls, without = (board(*make_study(), *extra).tables[0] for extra in (controlled(1.0), []))
    assert with_controls.best == without.best and with_controls.separated == without.separated
    ranks = {row.method: row.rank for row in with_controls.rows}
    assert ranks.pop("espl (random-reward)") is None
    assert ranks == {row.method: row.rank for row in without.rows}


def test_nobody_is_bold_on_one_seed():
    clear = [make_summary("espl", 0, [1.0] * 100), make_summary("base", 0, [0.0] * 100)]
    [table] = board(*clear).tables
    assert not table.separated and table.rows[0].rank == (1, 2)
    again = [replace_seed(summary, 1) for summary in clear]
    [table] = board(*clear, *again).tables
    assert table.separated


def replace_seed(summary, seed):
    return summary.model_copy(update={"seed": seed, "run_id": f"{summary.method}-{seed}"})
