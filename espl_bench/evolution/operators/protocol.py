"""What an operator is: it looks at one step of the whole population and proposes children. Mutation and crossover are two of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from espl_bench.evolution.operators.proposal import Child, EditLimits
from espl_bench.evolution.operators.reflection import Editor
from espl_bench.evolution.population import Population
from espl_bench.registry import OPERATORS, find
from espl_bench.types import Rejected, SystemPrompt, TrajectoryGroup


@dataclass(frozen=True, slots=True)
class StepView:
    """One step as an operator sees it, after its prompts were rated."""

    step: int
    """Counted from 1; a child's `born_step`."""
    ranked: tuple[SystemPrompt, ...]
    """The distinct prompts of the step, best mean reward first. Never empty."""
    groups_KP: tuple[TrajectoryGroup, ...]
    """The rollouts of all of them."""
    population: Population
    """All living prompts with their ratings, and in `population.history` what each earned on each problem so far."""

    @property
    def best(self) -> SystemPrompt:
        """The prompt with the highest mean reward."""
        return self.ranked[0]

    def groups_of(self, prompt: SystemPrompt) -> tuple[TrajectoryGroup, ...]:
        """Return one prompt's own groups."""
        return tuple(group for group in self.groups_KP if group.prompt_id == prompt.id)


class Operator(Protocol):
    """Writes children from the rollouts of a step. Stateless; all randomness comes from `rng`."""

    @property
    def name(self) -> str:
        """The name it is registered under: the origin of its children."""
        ...

    async def propose(self, view: StepView, editor: Editor, limits: EditLimits, rng: np.random.Generator) -> Sequence[Child | Rejected]:
        """Return any number of children, and a `Rejected` for each that came to nothing.

        Args:
            view: the step's prompts, rollouts and population.
            editor: writes reflections; every call is metered.
            limits: what bounds a child.
            rng: the step's generator, shared by the method's operators in their order.
        """
        ...

    def max_calls(self, problems: int, group_size: int, limits: EditLimits) -> int:
        """Return how many requests to the editor one step can take at most, for plans and budgets."""
        ...


def find_operator(name: str) -> Operator:
    """Return an operator by name. Raises UsageError with the nearest known name."""
    return find(OPERATORS, name)
