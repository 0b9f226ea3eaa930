"""Controls: runs in which what a method is said to learn from is taken away, so that whatever still improves did not come from it.

- random-reward: every training rollout's reward is a coin flip. Whoever still improves does so from the form of training alone.
- shuffled-answers: every training problem has the truth of another one. Graders and the editor believe it.
- irrelevant-prompt: the policy is shown as many principles as its prompt holds, of things that have nothing to do with the task.

A control changes nothing of an evaluation but, the last one, its prompt. It is part of a run's configuration and of its row in a
table, which says where a control is better than the untreated base model.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import cycle, islice

from espl_bench.seeding import seed_for
from espl_bench.types import Outcome, Trajectory, TrajectoryGroup

FEWEST = 4
"""Irrelevant principles that stand in for a prompt with fewer of its own."""


class Control(StrEnum):
    """What is taken away."""

    RANDOM_REWARD = "random-reward"
    SHUFFLED_ANSWERS = "shuffled-answers"
    IRRELEVANT_PROMPT = "irrelevant-prompt"

    @property
    def taken_away(self) -> str:
        """What such a run cannot learn from."""
        match self:
            case Control.RANDOM_REWARD:
                return "rewards"
            case Control.SHUFFLED_ANSWERS:
                return "true answers"
            case Control.IRRELEVANT_PROMPT:
                return "what prompts say"


def with_random_rewards(groups_KP: Sequence[TrajectoryGroup], seed: int, step: int) -> tuple[TrajectoryGroup, ...]:
    """The same rollouts, each graded by a coin that seed, step, place in the batch and sample name. What could not be graded stays so."""
    return tuple(
        replace(group, trajectories_G=tuple(_tossed(each, seed, step, place) for each in group.trajectories_G))
        for place, group in enumerate(groups_KP)
    )


def _tossed(trajectory: Trajectory, seed: int, step: int, place: int) -> Trajectory:
    if not trajectory.outcome.graded:
        return trajectory
    heads = seed_for(seed, "control", Control.RANDOM_REWARD.value, step, place, trajectory.sample) % 2 == 1
    return replace(trajectory, reward=float(heads), outcome=Outcome.CORRECT if heads else Outcome.WRONG)


def stand_in(principles: Sequence[str], irrelevant: Sequence[str]) -> tuple[str, ...]:
    """As many irrelevant principles as there are principles, at least `FEWEST`; they repeat where they do not suffice."""
    return tuple(islice(cycle(irrelevant), max(len(principles), FEWEST)))
