"""Controls: runs that remove one signal that a method is said to learn from. Whatever still improves did not come from it.

- random-reward: every training rollout's reward is a coin flip. What still improves does so from the form of training alone.
- shuffled-answers: every training problem has the answer of another one. Graders and the editor believe it.
- irrelevant-prompt: the policy is shown as many principles as its prompt holds, all unrelated to the task.

A control does not change an evaluation, except for its prompt in the last case. It is part of a run's configuration and of its row in
a table, which says where a control is better than the untreated base model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle, islice
from typing import Final

from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import UsageError
from espl_bench.prompts.dialect import Dialect
from espl_bench.registry import CONTROLS, find
from espl_bench.seeding import rng_for, seed_for
from espl_bench.types import Outcome, Problem, Split, Trajectory, TrajectoryGroup

FEWEST: Final = 4
"""Irrelevant principles shown in place of a prompt that has fewer of its own."""
PROBED: Final = 8
"""Training problems whose grading is checked before a run with shuffled answers begins."""


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
        """Raise UsageError if the control changes nothing in an environment that `environment` returned."""

    def rewards(self, groups_KP: tuple[TrajectoryGroup, ...], seed: int, step: int) -> tuple[TrajectoryGroup, ...]:
        """Return the training rollouts with the rewards that the method learns from."""
        return groups_KP

    def principles(self, principles: Sequence[str], dialect: Dialect) -> Sequence[str]:
        """Return the principles that the policy sees in place of a prompt's own."""
        return principles


@dataclass(frozen=True, slots=True)
class RandomReward(Control):
    """Replaces rewards with coin flips."""

    taken_away: str = "rewards"
    changes_rewards: bool = True

    def rewards(self, groups_KP: tuple[TrajectoryGroup, ...], seed: int, step: int) -> tuple[TrajectoryGroup, ...]:
        """Grade each rollout by a coin flip seeded by seed, step, position and sample. Ungraded rollouts stay ungraded."""
        return tuple(
            replace(group, trajectories_G=tuple(_tossed(rollout, seed, step, index) for rollout in group.trajectories_G))
            for index, group in enumerate(groups_KP)
        )


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
        """Refuse an environment whose grading does not depend on its problems' answers."""
        size = env.size(Split.TRAIN)
        if size < 2:
            raise UsageError(f"environment '{name}' has {size} training problems, and answers are shuffled among two or more")
        for index in range(min(size, PROBED)):
            env.reset(options={"split": Split.TRAIN, "index": index})
            _, reward, terminated, _, info = env.step(env.problem(Split.TRAIN, index).gold)
            if terminated and (reward < 1.0 or info["outcome"] is not Outcome.CORRECT):
                raise UsageError(
                    f"environment '{name}' does not grade by its problems' answers; use another --control than shuffled-answers"
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
