"""Episodes: tokens are appended and never re-tokenised, failures are data, every rollout has its place and its seed."""

import asyncio
import math
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from checked import present
from loop_fixtures import events, make_config, rows
from rollout_fixtures import CHAT, ROOT, Says, problems, prompt, task
from scripted_engine import spell
from small_envs import AskTwice, Sums

from espl_bench import runner
from espl_bench.build import open_engine
from espl_bench.environment.text_env import EnvironmentSpec, TextEnv, Verdict
from espl_bench.errors import EnvError
from espl_bench.evolve import mean_rewards
from espl_bench.learning.advantages import ACROSS_PROMPTS, PER_PROMPT, compute_advantages
from espl_bench.learning.datums import to_datums
from espl_bench.rollouts.episode import replay
from espl_bench.rollouts.evaluate import Evaluation, evaluate
from espl_bench.rollouts.outcomes import outcome_rates
from espl_bench.rollouts.rollout import roll_out
from espl_bench.runs.rollout_rows import rollout_rows
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import Completion, Outcome, Problem, Split, StopReason, TrajectoryGroup
from espl_bench.utils.jsonl import decode


def rolled(client, made: type[TextEnv], prompts=(ROOT,), count: int = 2, group_size: int = 3) -> tuple[TrajectoryGroup, ...]:
    return asyncio.run(roll_out(client, task(made), prompts, problems(made, count), group_size, "rollout", 0))


# Shape


def test_groups_come_prompt_by_prompt_and_problem_by_problem():
    groups = rolled(Says(), Sums, (prompt(5), prompt(2), prompt(5)), count=4, group_size=2)
    assert [(group.prompt_id, group.problem.index) for group in groups] == [(p, i) for p in (5, 2, 5) for i in range(4)]
    for group in groups:
        assert [(t.prompt_id, t.problem, t.sample) for t in group.trajectories_G] == [(group.prompt_id, group.problem, s) for s in (0, 1)]


def test_the_whole_batch_is_sampled_in_one_call_per_turn():
    one, two = Says(), Says(("1", "answer 4"))
    rolled(one, Sums, (prompt(0), prompt(1)))
    rolled(two, AskTwice, (prompt(0), prompt(1)))
    assert [len(call) for call in one.calls] == [12]
    assert [len(call) for call in two.calls] == [12, 12]


def test_every_turn_of_every_rollout_has_a_seed_of_its_own_also_under_the_same_prompt():
    client = Says(("1", "answer 4"))
    rolled(client, AskTwice, (prompt(0), prompt(0)))
    seeds = [request.seed for call in client.calls for request in call]
    assert len(set(seeds)) == len(seeds) == 24
    again = Says(("1", "answer 4"))
    rolled(again, AskTwice, (prompt(0), prompt(0)))
    assert [request.seed for call in again.calls for request in call] == seeds


def test_a_seed_depends_on_the_place_and_not_on_the_rest_of_the_batch():
    few, many = Says(), Says()
    rolled(few, Sums, (prompt(0),), count=1, group_size=1)
    rolled(many, Sums, (prompt(0), prompt(1)), count=3, group_size=4)
    assert few.calls[0][0].seed == many.calls[0][0].seed


def test_requests_carry_the_settings_of_the_task():
    client = Says()
    asyncio.run(roll_out(client, task(Sums, temperature=0.7, top_p=0.95, max_tokens=9), [prompt(0)], problems(Sums, 1), 1, "rollout", 0))
    [[request]] = client.calls
    assert (request.temperature, request.top_p, request.max_tokens) == (0.7, 0.95, 9)


# Turns


def test_later_turns_are_appended_to_the_tokens_as_sampled():
    client = Says(("3   4", "answer PLACE"))
    groups = rolled(client, AskTwice, count=3)
    first, second = client.calls
    said = spell(CHAT, "3 4")
    asked = spell(CHAT, "<|user|> are you sure? <|assistant|>")[:-1]
    for before, after in zip(first, second, strict=True):
        assert after.prompt_T == (*before.prompt_T, *said, *asked)
    for trajectory, opening in zip((t for group in groups for t in group.trajectories_G), first, strict=True):
        assert [turn.observation_T for turn in trajectory.turns] == [opening.prompt_T, asked]
        [datum] = to_datums(trajectory, 1.0, 1.0)
        assert datum.tokens_T == (*opening.prompt_T, *said, *asked, *trajectory.turns[1].completion.tokens_T)
        assert [token for token, kept in zip(datum.tokens_T, datum.mask_T, strict=True) if kept] == [
            *said,
            *trajectory.turns[1].completion.tokens_T,
        ]


def test_an_unusual_tokenisation_survives_the_next_turn():
    class Odd(Says):
        def _say(self, turn: int, place: int) -> Completion:
            end = spell(CHAT, "")[-1]
            unknown = spell(CHAT, "neverheard")[0]
            tokens = (unknown, unknown, end) if turn == 0 else spell(CHAT, "answer 4")
            return Completion(tokens, (-0.5,) * len(tokens), CHAT.decode(tokens), StopReason.STOP)

    client = Odd()
    rolled(client, AskTwice, count=1, group_size=1)
    [[first], [second]] = client.calls
    start = len(first.prompt_T)
    assert second.prompt_T[start : start + 3] == (*[spell(CHAT, "neverheard")[0]] * 2, spell(CHAT, "")[-1])


def test_episodes_that_end_early_leave_the_others_alone():
    class Uneven(AskTwice):
        def respond(self, problem: Problem, action: str):
            if problem.index == 0:
                self.current = None
                return "", 0.0, True, False, {"outcome": Outcome.WRONG}
            return super().respond(problem, action)

    client = Says(("1", "answer 5"))
    groups = rolled(client, Uneven, count=2)
    assert [len(call) for call in client.calls] == [6, 3]
    assert [[len(t.turns) for t in group.trajectories_G] for group in groups] == [[1] * 3, [2] * 3]
    assert {t.outcome for t in groups[1].trajectories_G} == {Outcome.CORRECT}


def test_a_turn_that_was_cut_ends_the_episode_because_nothing_can_follow_it():
    client = Says(("1", "answer 4"), cut_turn=0)
    [group] = rolled(client, AskTwice, count=1)
    assert len(client.calls) == 1
    assert {t.outcome for t in group.trajectories_G} == {Outcome.TRUNCATED}


# Outcomes


@pytest.mark.parametrize(
    ("text", "cut", "outcome", "reward"),
    [
        ("answer 4", False, Outcome.CORRECT, 1.0),
        ("answer 4", True, Outcome.CORRECT, 1.0),
        ("answer 5", False, Outcome.WRONG, 0.0),
        ("answer 5", True, Outcome.WRONG, 0.0),
        ("well", False, Outcome.NO_ANSWER, 0.0),
        ("well", True, Outcome.TRUNCATED, 0.0),
        ("x" * 2000, False, Outcome.TRUNCATED, 0.0),
    ],
)
def test_outcomes_of_a_single_turn(text: str, cut: bool, outcome: Outcome, reward: float):
    [group] = rolled(Says((text,), cut_turn=0 if cut else None), Sums, count=1)
    for trajectory in group.trajectories_G:
        assert (trajectory.outcome, trajectory.reward, trajectory.error) == (outcome, reward, None)
        assert trajectory.turns[0].completion.stop_reason is (StopReason.LENGTH if cut else StopReason.STOP)


class Falters(Sums):
    """Its grader fails on one item."""

    def grade(self, problem: Problem, response: str) -> Verdict:
        if problem.index == 1:
            raise EnvError("the judge is out of order")
        return super().grade(problem, response)


def test_a_failure_of_the_environment_is_an_outcome_with_its_message():
    sound, failed = rolled(Says(), Falters)
    assert {t.outcome for t in sound.trajectories_G} == {Outcome.CORRECT}
    for trajectory in failed.trajectories_G:
        assert (trajectory.outcome, trajectory.reward, trajectory.error) == (Outcome.ERROR, 0.0, "the judge is out of order")
    assert failed.graded_rewards == ()


@pytest.mark.parametrize(("reward", "said"), [(math.nan, "nan"), (math.inf, "inf"), (-1e200, "-1e+200")])
def test_a_number_that_no_row_can_hold_is_a_failure_of_the_environment(reward: float, said: str):
    class Boundless(Sums):
        def grade(self, problem: Problem, response: str) -> Verdict:
            return Verdict(Outcome.CORRECT, reward) if problem.index else Verdict(Outcome.CORRECT, 1.0, measures={"f1": reward})

    measured, rewarded = rolled(Says(), Boundless)
    for group, name in ((measured, "f1"), (rewarded, "reward")):
        assert {(t.outcome, t.reward, t.error) for t in group.trajectories_G} == {
            (Outcome.ERROR, 0.0, f"the environment gave the {name} {said}")
        }


class Sleepy(Sums):
    """It cannot begin with its second item."""

    def reset(self, *, seed=None, options=None):
        if options and options.get("index") == 1:
            raise EnvError("the problem server is down")
        return super().reset(seed=seed, options=options)


def test_an_episode_that_cannot_begin_is_an_outcome_too():
    client = Says()
    sound, failed = rolled(client, Sleepy)
    assert {t.outcome for t in sound.trajectories_G} == {Outcome.CORRECT}
    assert [len(call) for call in client.calls] == [3], "nothing is sampled for it"
    for trajectory in failed.trajectories_G:
        assert (trajectory.turns, trajectory.outcome, trajectory.error) == ((), Outcome.ERROR, "the problem server is down")
    assert [row.stop_reason for row in rollout_rows([failed])] == [None] * 3
    assert compute_advantages([failed], PER_PROMPT) == []


class Moody(Sums):
    """Its grader fails on some responses."""

    def grade(self, problem: Problem, response: str) -> Verdict:
        if response == "answer 2":
            raise EnvError("not this one")
        return super().grade(problem, response)


def test_a_failure_of_the_environment_enters_no_mean_and_no_advantage():
    groups = rolled(Says(("answer PLACE",)), Moody, (prompt(0), prompt(1)), count=1, group_size=5)
    assert [t.outcome.value for t in groups[0].trajectories_G] == ["wrong", "wrong", "error", "wrong", "correct"]
    assert mean_rewards(groups) == {0: 0.25, 1: 0.0}
    assert outcome_rates(groups[0].trajectories_G) == {Outcome.CORRECT: 0.2, Outcome.WRONG: 0.6, Outcome.ERROR: 0.2}
    advantages = {
        baseline: [scored.advantage for scored in compute_advantages(groups, baseline)] for baseline in (PER_PROMPT, ACROSS_PROMPTS)
    }
    assert advantages[PER_PROMPT] == pytest.approx([-0.25, -0.25, -0.25, 0.75])
    assert advantages[ACROSS_PROMPTS] == pytest.approx([-1 / 9] * 3 + [8 / 9] + [-1 / 9] * 5)


def test_a_bug_in_an_environment_is_no_failure_and_stops_the_run():
    class Buggy(Sums):
        def grade(self, problem: Problem, response: str) -> Verdict:
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        rolled(Says(), Buggy)


def test_rows_hold_what_is_needed_to_grade_again():
    groups = rolled(Says(("3", "answer PLACE")), AskTwice, (prompt(7), prompt(7)), count=1, group_size=2)
    stored = rollout_rows(groups)
    assert [(row.prompt_id, row.slot, row.sample) for row in stored] == [(7, 0, 0), (7, 0, 1), (7, 1, 0), (7, 1, 1)]
    assert stored[2].turns == ("3", "answer 2")
    assert {(row.problem_id, row.question, row.answer) for row in stored} == {("train/0", "0 + 4 = ?", "4")}
    assert all(row.generated_tokens == 2 + 3 for row in stored)


# Off the loop


class Slow(Sums):
    """Its grader is waited for, by as many at a time as there are places."""

    steps_at_once = 3
    together = threading.Barrier(3, timeout=20)

    def grade(self, problem: Problem, response: str) -> Verdict:
        self.together.wait()
        return super().grade(problem, response)


def test_answers_are_graded_side_by_side_and_keep_their_order():
    [group] = rolled(Says(("answer PLACE",)), Slow, count=1, group_size=6)
    assert [t.text for t in group.trajectories_G] == [f"answer {place}" for place in range(6)]
    assert [t.outcome is Outcome.CORRECT for t in group.trajectories_G] == [place == 4 for place in range(6)]


def test_an_environment_that_does_not_ask_for_it_is_stepped_by_one_thread_at_a_time():
    busy = threading.Lock()

    class Jealous(Sums):
        def grade(self, problem: Problem, response: str) -> Verdict:
            assert busy.acquire(blocking=False), "two of them at once"
            time.sleep(0.002)
            busy.release()
            return super().grade(problem, response)

    rolled(Says(), Jealous, count=4, group_size=4)


def test_a_slow_grader_does_not_keep_the_loop_from_other_work():
    graded = threading.Event()

    class Patient(Sums):
        def grade(self, problem: Problem, response: str) -> Verdict:
            assert graded.wait(20), "the loop stood still"
            return super().grade(problem, response)

    async def both():
        async def other_work():
            await asyncio.sleep(0.05)
            graded.set()

        groups, _ = await asyncio.gather(roll_out(Says(), task(Patient), [ROOT], problems(Patient, 1), 2, "rollout", 0), other_work())
        return groups

    assert {t.outcome for group in asyncio.run(both()) for t in group.trajectories_G} == {Outcome.CORRECT}


def test_a_stored_rollout_is_replayed_to_the_same_end():
    for client in (Says(("1", "answer PLACE")), Says(("1", "answer 4"), cut_turn=0), Says(("1", "well"), cut_turn=1)):
        groups = rolled(client, AskTwice, count=2, group_size=3)
        for row, rollout in zip(rollout_rows(groups), (t for group in groups for t in group.trajectories_G), strict=True):
            ending = replay(AskTwice(), rollout.problem, row.turns, present(row.stop_reason))
            assert (ending.reward, ending.outcome, ending.error) == (rollout.reward, rollout.outcome, rollout.error)


def test_turns_that_do_not_fit_the_environment_are_an_error_of_the_replay():
    problem = problems(AskTwice, 1)[0]
    short, long = (replay(AskTwice(), problem, texts, StopReason.STOP) for texts in (["1"], ["1", "answer 4", "and more"]))
    assert (short.outcome, short.error) == (Outcome.ERROR, "the episode has not ended after turn 1")
    assert (long.outcome, long.error) == (Outcome.ERROR, "the episode ended before turn 3 of 3")
    assert replay(Sleepy(), problems(Sums, 2)[1], ["answer 4"], StopReason.STOP).error == "the problem server is down"


# Evaluation


def evaluated(client, made: type[TextEnv], split: Split = Split.TEST, samples: int = 2) -> tuple[Evaluation, list]:
    seen: list[tuple[int, int]] = []
    items = [made().problem(split, index) for index in range(made().size(split))]
    found = asyncio.run(evaluate(client, task(made), prompt(3), items, samples, 9, lambda done, total: seen.append((done, total))))
    return found, seen


def test_an_evaluation_scores_every_item_with_every_sample():
    found, seen = evaluated(Says(("answer 205",)), Sums)
    assert (found.step, found.split, found.prompt_id) == (9, Split.TEST, 3)
    assert [len(scores) for scores in found.scores_IG] == [2] * 20
    assert found.item_scores == tuple(float(index == 1) for index in range(20))
    assert found.score == pytest.approx(1 / 20)
    assert found.outcomes == {Outcome.CORRECT: 1 / 20, Outcome.WRONG: 19 / 20}
    assert seen[-1] == (40, 40)


def test_failures_count_nought_in_an_evaluation_and_show_in_its_outcomes():
    found, _ = evaluated(Says(("answer 204",)), Falters)
    assert found.outcomes == {Outcome.CORRECT: 1 / 20, Outcome.WRONG: 18 / 20, Outcome.ERROR: 1 / 20}


def test_an_evaluation_draws_the_same_at_every_step_and_other_than_training():
    first, later, training = Says(), Says(), Says()
    evaluated(first, Sums)
    evaluated(later, Sums)
    rolled(training, Sums, count=20, group_size=2)
    seeds = [[request.seed for call in client.calls for request in call] for client in (first, later, training)]
    assert seeds[0] == seeds[1]
    assert not set(seeds[0]) & set(seeds[2])


# Several turns and failures, through the whole loop


class AskTwiceInDigits(AskTwice):
    """Rulebook's questions, asked twice, and a judge that fails now and then."""

    sums = None

    def __init__(self):
        from espl_envs.rulebook.env import RulebookEnv

        super().__init__()
        self.inner = RulebookEnv()

    def size(self, split: Split) -> int:
        return min(20, self.inner.size(split))

    def problem(self, split: Split, index: int) -> Problem:
        return self.inner.problem(split, index)

    def respond(self, problem: Problem, action: str):
        self.turn += 1
        if self.turn < 2:
            return problem.question, 0.0, False, False, {}
        self.current = None
        if problem.index % 5 == 0:
            raise EnvError(f"no judge for {problem.id}")
        verdict = self.inner.grade(problem, action)
        return "", verdict.reward, True, False, {"outcome": verdict.outcome}


TWICE = EnvironmentSpec("twice", "espl/Twice-v0", f"{__name__}:AskTwiceInDigits", "two turns", "compact", None, {"lr": 1e-2})


def test_a_run_of_two_turns_with_failures_trains_and_tells(lab_model: Path, tmp_path: Path):
    config = make_config(lab_model, "espl", steps=3, batch_size=8).model_copy(update={"env": TWICE.name})
    summary = runner.run(config, tmp_path, env=TWICE)
    assert summary.ledger.rollouts == 3 * 3 * 8 * 4
    failed = [row for step in (1, 2, 3) for row in RunDir(tmp_path).read_rollouts(step, decode) if row["outcome"] == "error"]
    assert failed and all(row["error"] == f"no judge for {row['problem_id']}" for row in failed)
    for row in rows(tmp_path, Log.METRICS):
        assert row["outcomes"]["error"] > 0
        assert row["train"]["ratio_mean"] == pytest.approx(1, abs=1e-3), "the trainer sees what the sampler saw, over both turns"
    assert summary.outcomes["error"] == 4 / 20
    assert len(events(tmp_path, "born")) > 1


def test_the_real_engine_continues_from_its_own_tokens(lab_model: Path):
    config = make_config(lab_model)
    engine = open_engine(config)

    async def play():
        client = await engine.current()
        return await roll_out(client, task(AskTwice, chat=engine.chat, max_tokens=6), [prompt(0)], problems(AskTwice, 2), 4, "rollout", 0)

    for group in asyncio.run(play()):
        for trajectory in group.trajectories_G:
            openings = [sum((turn.observation_T for turn in trajectory.turns[:n]), ()) for n in (1, 2)]
            assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(openings))
            if len(trajectory.turns) == 2:
                assert trajectory.turns[0].completion.stop_reason is StopReason.STOP
