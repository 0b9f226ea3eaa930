"""Acceptance rules: a rule decides whether a child joins the population, possibly after rollouts of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Child
from espl_bench.registry import ACCEPTANCES, find
from espl_bench.types import Problem, TrajectoryGroup

TIE_SLACK: Final = 1e-9
"""Mean rewards closer than this count as equal."""


class Trial(Protocol):
    """Rollouts for judging children. They are metered and stored like any others; weights do not learn from them."""

    async def roll_out(self, principles: Sequence[str], problems: Sequence[Problem] | None = None) -> tuple[TrajectoryGroup, ...]:
        """Roll out a prompt, one group for each problem, with the weights that made the step's rollouts.

        `problems`: of the step; None: all of them.
        """
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """Decision of a rule."""

    admitted: bool
    detail: str = ""
    """The numbers behind the decision, in one line for the record."""


class Acceptance(Protocol):
    """Admits or rejects children. Stateless."""

    @property
    def rolls_out(self) -> bool:
        """Return whether it uses the trial. If so, words are written before weights move, so that all rollouts of a step share weights."""
        ...

    async def judge(self, child: Child, view: StepView, trial: Trial) -> Judgement:
        """Decide on one child of the step."""
        ...


@dataclass(frozen=True, slots=True)
class Always:
    """Admits every child (paper); the steps that select it then settle its rating."""

    rolls_out: bool = False

    async def judge(self, child: Child, view: StepView, trial: Trial) -> Judgement:
        """Admit."""
        return Judgement(True)


@dataclass(frozen=True, slots=True)
class BeatsParent:
    """Admits a child that earns more than its first parent on the problems of the step (GEPA's minibatch test)."""

    rolls_out: bool = True

    async def judge(self, child: Child, view: StepView, trial: Trial) -> Judgement:
        """Roll the child out on the step's problems and compare the two means."""
        parent_id = child.lineage.parent_ids[0]
        before = mean_reward([group for group in view.groups_KP if group.prompt_id == parent_id])
        after = mean_reward(await trial.roll_out(child.principles))
        return Judgement(after > before + TIE_SLACK, f"{after:.4f} against {before:.4f} of prompt {parent_id}")


def mean_reward(groups: Sequence[TrajectoryGroup]) -> float:
    """Return the mean reward of the graded rollouts; 0 if there are none."""
    rewards = [reward for group in groups for reward in group.graded_rewards]
    return sum(rewards) / len(rewards) if rewards else 0.0


ALWAYS: Final = Always()
ALWAYS_NAME: Final = "always"
"""The rule of methods that name no other."""
BEATS_PARENT: Final = BeatsParent()


def find_acceptance(name: str) -> Acceptance:
    """Return an acceptance rule by name. Raises UsageError with the nearest known name."""
    return find(ACCEPTANCES, name)
