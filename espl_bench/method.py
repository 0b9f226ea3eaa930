"""A method is a row of choices. There is one loop; base, rl_only, reflection_only, evolution_only and espl differ only here.

A row holds names, which are looked up when a run is opened (`espl_bench.registry`). So any package can add a selector, an operator,
an acceptance rule, a schedule, a baseline or a normalisation, and a row that uses it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from espl_bench.evolution.acceptance import ALWAYS_NAME
from espl_bench.evolution.population import Population
from espl_bench.evolution.schedule import TOGETHER
from espl_bench.learning.advantages import Reduction
from espl_bench.registry import (
    ACCEPTANCES,
    BASELINES,
    METHODS,
    NORMALISATIONS,
    OPERATORS,
    OPTIMIZERS,
    SCHEDULES,
    SELECTORS,
    Seam,
    find,
    require,
)
from espl_bench.types import SystemPrompt


class Shown(StrEnum):
    """The prompt that a method is evaluated with, chosen from training ratings alone."""

    BEST = "best"
    """The highest mu - 2 sigma. The reference code shows the newest prompt, rated or not; the paper does not say."""
    NEWEST = "newest"
    ROOT = "root"
    """The run's first prompt: of methods whose weights take over what a prompt says."""


class Teacher(StrEnum):
    """The weights of a teacher, which answers under the evolved prompt."""

    REFERENCE = "reference"
    """The frozen base model."""
    CURRENT = "current"
    """The policy itself, without a gradient."""


class EditorChoice(StrEnum):
    """The weights that write the reflections."""

    REFERENCE = "reference"
    """The frozen base model (paper; its ablation finds the drifting policy a worse editor)."""
    CURRENT = "current"


# Choices added later are only written where they differ from their defaults, so that the rows of earlier runs keep their ids.
@dataclass(frozen=True)
class Method:
    """One row of the comparison."""

    name: str
    summary: str
    learns_weights: bool = False
    operators: tuple[str, ...] = ()
    """Operators that breed prompts, in this order; if empty, the root prompt stays alone."""
    population_size: Annotated[int, Field(ge=1)] = 10
    """Number of newest prompts that live and may be selected; the oldest leaves first (paper:

    K = 10). With 1, a child replaces its parent.
    """
    selector: str = "top_plus_random"
    crossover_prob: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Chance of a crossover per iteration."""
    baseline: str = "per_prompt"
    """The value a reward is compared with. A lone root prompt is sampled K times; across_prompts makes these one group of K·G."""
    editor: EditorChoice = EditorChoice.REFERENCE
    shown: Shown = Shown.BEST
    acceptance: Annotated[str, Field(exclude_if=lambda name: name == ALWAYS_NAME)] = ALWAYS_NAME
    """Rule that a child must pass before it joins the population."""
    schedule: Annotated[str, Field(exclude_if=lambda name: name == TOGETHER)] = TOGETHER
    """When weights learn and when words are bred."""
    schedule_period: Annotated[int, Field(ge=1, exclude_if=lambda period: period == 10)] = 10
    """Iterations per period, for schedules that have one."""
    normalisation: Annotated[str, Field(exclude_if=lambda name: name == "none")] = "none"
    """Scaling of the advantages of a baseline set."""
    reduction: Annotated[Reduction, Field(exclude_if=lambda name: name == "sum")] = "sum"
    """How the loss combines tokens: their sum (paper), or their mean over the step."""
    teacher: Annotated[Teacher | None, Field(exclude_if=lambda teacher: teacher is None)] = None
    """Teacher of the steps in which the schedule distils; None for methods without such steps."""
    loss: Annotated[str | None, Field(exclude_if=lambda name: name is None)] = None
    """The loss that the method is defined with, unless an option names another one; None: the run's."""
    optimizer: Annotated[str | None, Field(exclude_if=lambda name: name is None)] = None
    """An optimizer that owns its loop and writes the prompt. Weights stay frozen, and none of the choices above applies."""

    @property
    def breeds(self) -> bool:
        """True if prompts are written at all."""
        return bool(self.operators) or self.optimizer is not None

    @property
    def is_static(self) -> bool:
        """True if nothing is learned, so there is nothing to iterate."""
        return not self.learns_weights and not self.breeds

    def evolved_prompt(self, population: Population) -> SystemPrompt:
        """Return the prompt that the words half of the method would answer with now."""
        return population.newest if self.shown is Shown.NEWEST or self.optimizer is not None else population.best_rated(width=2.0)

    def shown_prompt(self, population: Population, root: SystemPrompt) -> SystemPrompt:
        """Return the prompt that the method is evaluated with now; `root` is the run's first."""
        return root if self.shown is Shown.ROOT else self.evolved_prompt(population)

    def varied(self, **choices: object) -> "Method":
        """Return the same row with some choices changed."""
        return replace(self, **choices)  # pyright: ignore[reportArgumentType]  # pydantic checks the values in RunConfig

    def require_names(self) -> None:
        """Raise UsageError, with the nearest known name, for a choice that is not registered."""
        for seam, name in self.named():
            require(seam, name)

    def named(self) -> Iterator[tuple[Seam, str]]:
        """Yield every registered object that the row names, with its kind."""
        yield from ((OPERATORS, operator) for operator in self.operators)
        yield SELECTORS, self.selector
        yield ACCEPTANCES, self.acceptance
        yield SCHEDULES, self.schedule
        yield BASELINES, self.baseline
        yield NORMALISATIONS, self.normalisation
        if self.optimizer is not None:
            yield OPTIMIZERS, self.optimizer


ESPL = Method(
    name="espl",
    summary="weights learn by RL while a rated population of system prompts evolves by mutation and crossover",
    learns_weights=True,
    operators=("mutation", "crossover"),
)


def find_method(name: str) -> Method:
    """Return a method by name. Raises UsageError with the nearest known name."""
    return find(METHODS, name)
