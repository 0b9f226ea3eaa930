"""The operator protocol: an operator looks at one step of the whole population and proposes children, as mutation and crossover do."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from espl_bench.evolution.operators.editor import Editor
from espl_bench.evolution.operators.proposal import Child, EditLimits
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
    """The rollouts of these prompts."""
    population: Population
    """All living prompts with their ratings; `population.history` has the rewards of each on each problem so far."""

    @property
    def best(self) -> SystemPrompt:
        """Return the prompt with the highest mean reward."""
        return self.ranked[0]

    def groups_of(self, prompt: SystemPrompt) -> tuple[TrajectoryGroup, ...]:
        """Return one prompt's own groups."""
        return tuple(group for group in self.groups_KP if group.prompt_id == prompt.id)

    def best_slot(self) -> tuple[SystemPrompt, tuple[TrajectoryGroup, ...]]:
        """Return the groups of the place with the highest mean reward, and their prompt; of equals, of the better prompt, the first.

        A prompt that fills several places of a step has as many slots; `best` pools their rollouts.
        """
        slots: dict[tuple[int, int], list[TrajectoryGroup]] = {}
        seen: Counter[tuple[int, str]] = Counter()
        for group in self.groups_KP:
            key = group.prompt_id, group.problem.id
            slots.setdefault((group.prompt_id, seen[key]), []).append(group)
            seen[key] += 1
        ranks = {prompt.id: rank for rank, prompt in enumerate(self.ranked)}
        best = min((slot for slot in slots if slot[0] in ranks), key=lambda slot: (-_mean(slots[slot]), ranks[slot[0]], slot[1]))
        return self.ranked[ranks[best[0]]], tuple(slots[best])


def _mean(groups: Sequence[TrajectoryGroup]) -> float:
    """Return the mean reward of the graded rollouts; minus infinity if there are none."""
    rewards = [reward for group in groups for reward in group.graded_rewards]
    return sum(rewards) / len(rewards) if rewards else -math.inf


class Operator(Protocol):
    """Writes children from the rollouts of a step. Stateless; all randomness comes from `rng`."""

    @property
    def name(self) -> str:
        """Return its registered name, which is the origin of its children."""
        ...

    async def propose(self, view: StepView, editor: Editor, limits: EditLimits, rng: np.random.Generator) -> Sequence[Child | Rejected]:
        """Return any number of children, and a `Rejected` for each attempt that failed.

        Args:
            view: the step's prompts, rollouts and population.
            editor: writes reflections; every call is metered.
            limits: bounds on a child.
            rng: the step's generator, shared by the method's operators in their order.
        """
        ...

    def max_calls(self, problems: int, group_size: int, limits: EditLimits) -> int:
        """Return the maximum number of requests to the editor in one step, for plans and budgets."""
        ...


def find_operator(name: str) -> Operator:
    """Return an operator by name. Raises UsageError with the nearest known name."""
    return find(OPERATORS, name)
