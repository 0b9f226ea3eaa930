"""Controls: runs that remove one signal that a method is said to learn from. Whatever still improves did not come from it.

- random-reward: every training rollout's reward is a coin flip, and nobody who learns is shown a correct answer. What still improves does
  so from the form of training alone.
- shuffled-answers: every training problem has the answer of another one. Graders and the editor believe it.
- irrelevant-prompt: the policy is shown as many principles as its prompt holds, all unrelated to the task.

A control does not change an evaluation, except for its prompt in the last case. It is part of a run's configuration and of its row in
a table, which says where a control is better than the untreated base model. Before a run begins, some training problems are answered to
see whether the control does what it says in this environment; if not, it is refused.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle, islice
from typing import Final

from espl_bench.environment.probing import AnsweredProblem, play
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import EnvError, UsageError
from espl_bench.prompts.dialect import Dialect
from espl_bench.registry import CONTROLS, find
from espl_bench.seeding import rng_for, seed_for
from espl_bench.types import Outcome, Problem, Split, Trajectory, TrajectoryGroup

FEWEST: Final = 4
"""Irrelevant principles shown in place of a prompt that has fewer of its own."""
PROBED: Final = 8
"""Training problems that are answered before a run with a control begins."""
WITHHELD: Final = ""
"""Stands for an answer that must not be seen; templates leave an empty answer out."""


@dataclass(frozen=True, slots=True)
class Control:
    """Removes one signal. This base class removes none; a control overrides one of its methods."""

    taken_away: str = "nothing"
    """The signal that such a run cannot learn from, as the note of a table words it."""
    changes_rewards: bool = False
    """True for a control that is pointless with a method that does not learn from rewards."""

    def environment(self, env: TextEnv, seed: int) -> TextEnv:
        """Return the environment that the run uses instead; it may be the same instance, changed."""
        return env

    def check(self, env: TextEnv, name: str) -> None:
        """Raise UsageError if the control cannot do what it says in an environment that `environment` returned."""

    def problem(self, problem: Problem) -> Problem:
        """Return a problem as everything that learns may see it: operators, their editor, optimizers."""
        return problem

    def rewards(self, groups_KP: tuple[TrajectoryGroup, ...], seed: int, step: int) -> tuple[TrajectoryGroup, ...]:
        """Return the training rollouts with the rewards that the method learns from."""
        return groups_KP

    def principles(self, principles: Sequence[str], dialect: Dialect) -> Sequence[str]:
        """Return the principles that the policy sees in place of a prompt's own."""
        return principles


@dataclass(frozen=True, slots=True)
class RandomReward(Control):
    """Replaces rewards with coin flips, and withholds what the coin could be compared with."""

    taken_away: str = "rewards"
    changes_rewards: bool = True

    def check(self, env: TextEnv, name: str) -> None:
        """Refuse an environment whose rewards are not 0 or 1, or whose replies tell the policy its grade or the correct answer."""
        told: list[bool] = []
        for problem, right, wrong in _answered(env):
            silent = _played(env, problem, "")
            if odd := [each.reward for each in (right, wrong, silent) if each.reward not in (0.0, 1.0)]:
                raise _cannot_toss(f"environment '{name}' gives rewards such as {odd[0]:g}, and a coin only 0 and 1")
            if wrong.outcome is not Outcome.CORRECT and right.replies != wrong.replies:
                raise _cannot_toss(f"environment '{name}' replies to a right answer otherwise than to a wrong one")
            told.append(any(_says(reply, problem.answer) for reply in (*right.replies, *wrong.replies)))
        if told and all(told):
            raise _cannot_toss(f"environment '{name}' tells correct answers in its replies")

    def problem(self, problem: Problem) -> Problem:
        """Withhold the answer: next to a coin's verdict it would show which verdicts are true."""
        return replace(problem, answer=WITHHELD, gold=WITHHELD)

    def rewards(self, groups_KP: tuple[TrajectoryGroup, ...], seed: int, step: int) -> tuple[TrajectoryGroup, ...]:
        """Grade each rollout by a coin flip seeded by seed, step, position and sample. Ungraded rollouts stay ungraded.

        Answers and the environment's measures are withheld, unless nothing at all was graded, so that nobody learns from it. Raises
        UsageError for a reward other than 0 and 1.
        """
        graded = [rollout for group in groups_KP for rollout in group.trajectories_G if rollout.outcome.graded]
        if odd := next((rollout for rollout in graded if rollout.reward not in (0.0, 1.0)), None):
            raise _cannot_toss(f"a rollout of {odd.problem.id} earned {odd.reward:g}, and a coin gives only 0 and 1")
        if not graded:
            return groups_KP
        return tuple(self._tossed(group, seed, step, index) for index, group in enumerate(groups_KP))

    def _tossed(self, group: TrajectoryGroup, seed: int, step: int, index: int) -> TrajectoryGroup:
        problem = self.problem(group.problem)
        rollouts = (replace(_tossed(rollout, seed, step, index), problem=problem, measures={}) for rollout in group.trajectories_G)
        return replace(group, problem=problem, trajectories_G=tuple(rollouts))


@dataclass(frozen=True, slots=True)
class ShuffledAnswers(Control):
    """Gives training problems each other's answers."""

    taken_away: str = "true answers"
    changes_rewards: bool = True

    def environment(self, env: TextEnv, seed: int) -> TextEnv:
        """Give every training problem the answer and the gold response of another."""
        serve, size = env.problem, env.size(Split.TRAIN)

        def problem(split: Split, index: int) -> Problem:
            own = serve(split, index)
            if split is not Split.TRAIN:
                return own
            other = serve(split, _others(seed, size)[index])
            return replace(own, answer=other.answer, gold=other.gold)

        env.problem = problem  # `reset` reads this, so episodes see the new answers too
        return env

    def check(self, env: TextEnv, name: str) -> None:
        """Refuse an environment whose grading does not depend on its problems' answers, or whose replies tell the true ones."""
        size = env.size(Split.TRAIN)
        if size < 2:
            raise UsageError(f"environment '{name}' has {size} training problems, and answers are shuffled among two or more")
        alike: list[bool] = []
        for problem, given, _ in _answered(env):
            truth = type(env).problem(env, Split.TRAIN, problem.index)
            owned = _played(env, problem, truth.gold)
            if given.reward < 1.0 or given.outcome is not Outcome.CORRECT:
                raise UsageError(
                    f"environment '{name}' does not grade by its problems' answers; use another --control than shuffled-answers"
                )
            if truth.answer != problem.answer:
                alike.append(owned.outcome is Outcome.CORRECT or any(_says(reply, truth.answer) for reply in given.replies))
        if alike and all(alike):
            raise UsageError(
                f"environment '{name}' still accepts or tells its problems' own answers; use another --control than shuffled-answers"
            )


@dataclass(frozen=True, slots=True)
class IrrelevantPrompt(Control):
    """Shows principles that are unrelated to the task in place of a prompt's own."""

    taken_away: str = "what prompts say"

    def principles(self, principles: Sequence[str], dialect: Dialect) -> Sequence[str]:
        """Return as many irrelevant principles as there are principles, at least `FEWEST`; they repeat if there are too few."""
        return tuple(islice(cycle(dialect.irrelevant()), max(len(principles), FEWEST)))


NO_CONTROL: Final = Control()
RANDOM_REWARD: Final = RandomReward()
SHUFFLED_ANSWERS: Final = ShuffledAnswers()
IRRELEVANT_PROMPT: Final = IrrelevantPrompt()


def find_control(name: str | None) -> Control:
    """Return a control by name; for None, one that removes nothing. Raises UsageError with the nearest known name."""
    return NO_CONTROL if name is None else find(CONTROLS, name)


def _answered(env: TextEnv) -> Iterator[tuple[Problem, AnsweredProblem, AnsweredProblem]]:
    """Answer the first training problems with their gold response, and with that of the next problem."""
    size = env.size(Split.TRAIN)
    for index in range(min(size, PROBED)):
        problem, following = (env.problem(Split.TRAIN, (index + offset) % size) for offset in (0, 1))
        if not problem.gold:
            raise UsageError(f"{problem.id} has no gold response, so no control of rewards or answers can be checked; leave out --control")
        wrong = following.gold if following.gold != problem.gold else ""
        yield problem, _played(env, problem, problem.gold), _played(env, problem, wrong)


def _played(env: TextEnv, problem: Problem, text: str) -> AnsweredProblem:
    try:
        return play(env, problem, text)
    except EnvError as error:
        raise UsageError(f"{error}, so no control can be checked") from error


def _cannot_toss(why: str) -> UsageError:
    return UsageError(f"{why}, so that random-reward cannot take the rewards away; use another --control")


def _says(reply: str, answer: str) -> bool:
    """Return whether a reply holds an answer as words of its own."""
    return bool(answer.strip()) and re.search(rf"(?<!\w){re.escape(answer.strip())}(?!\w)", reply) is not None


@lru_cache(maxsize=8)
def _others(seed: int, size: int) -> tuple[int, ...]:
    """Assign each of `size` problems another one, as one random cycle through all of them."""
    order = rng_for(seed, "control", "shuffled-answers").permutation(size)
    following = dict(zip(order.tolist(), [*order[1:].tolist(), int(order[0])], strict=True))
    return tuple(following[index] for index in range(size))


def _tossed(trajectory: Trajectory, seed: int, step: int, index: int) -> Trajectory:
    if not trajectory.outcome.graded:
        return trajectory
    heads = seed_for(seed, "control", "random-reward", step, index, trajectory.sample) % 2 == 1
    return replace(trajectory, reward=float(heads), outcome=Outcome.CORRECT if heads else Outcome.WRONG)
