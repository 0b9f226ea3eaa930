"""A method is a row of choices. There is one loop; base, rl_only, reflection_only, evolution_only and espl differ only here.

A row holds names. What a name stands for is found when a run is opened (`espl_bench.registry`), so that a package of anybody's can add
a selector, an operator, an acceptance rule, a schedule, a baseline or a normalisation, and a row that uses it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from espl_bench.evolution.population import Population
from espl_bench.learning.advantages import Reduction
from espl_bench.registry import ACCEPTANCES, BASELINES, METHODS, NORMALISATIONS, OPERATORS, OPTIMIZERS, SCHEDULES, SELECTORS, find, require
from espl_bench.types import SystemPrompt


class Shown(StrEnum):
    """Which prompt a method is evaluated with. Chosen from training ratings alone."""

    BEST = "best"
    """The highest mu - 2 sigma. The reference code shows the newest prompt, rated or not; the paper does not say."""
    NEWEST = "newest"


class EditorChoice(StrEnum):
    """Whose weights write the reflections."""

    REFERENCE = "reference"
    """The frozen base model (paper; its ablation finds the drifting policy a worse editor)."""
    CURRENT = "current"


# A choice that came later is only written down where it differs from its default: the rows of earlier runs keep their ids.
@dataclass(frozen=True)
class Method:
    """One row of the comparison."""

    name: str
    summary: str
    learns_weights: bool = False
    operators: tuple[str, ...] = ()
    """How prompts are bred, in this order; empty: the root prompt stays alone."""
    population_size: Annotated[int, Field(ge=1)] = 10
    """Newest prompts that live and may be selected; the oldest leaves first (paper: K = 10). 1: a child replaces its parent."""
    selector: str = "top_plus_random"
    crossover_prob: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Chance of a crossover per iteration."""
    baseline: str = "per_prompt"
    """What a reward is compared with. A lone root prompt is sampled K times; across_prompts makes these one group of K·G."""
    editor: EditorChoice = EditorChoice.REFERENCE
    shown: Shown = Shown.BEST
    acceptance: Annotated[str, Field(exclude_if=lambda name: name == "always")] = "always"
    """Whether a child must prove itself before it joins the population."""
    schedule: Annotated[str, Field(exclude_if=lambda name: name == "together")] = "together"
    """When weights learn and when words are bred."""
    schedule_period: Annotated[int, Field(ge=1, exclude_if=lambda period: period == 10)] = 10
    """Iterations of a period, for schedules that have one."""
    normalisation: Annotated[str, Field(exclude_if=lambda name: name == "none")] = "none"
    """How the advantages of a baseline set are scaled."""
    reduction: Annotated[Reduction, Field(exclude_if=lambda name: name == "sum")] = "sum"
    """Whether the loss is the sum over tokens (paper) or their mean over the step."""
    optimizer: Annotated[str | None, Field(exclude_if=lambda name: name is None)] = None
    """An optimizer that owns its loop and writes the prompt; weights stay frozen, and none of the choices above has a use."""

    @property
    def breeds(self) -> bool:
        """Whether prompts are written at all."""
        return bool(self.operators) or self.optimizer is not None

    @property
    def is_static(self) -> bool:
        """True if nothing is learned, so that there is nothing to iterate."""
        return not self.learns_weights and not self.breeds

    def shown_prompt(self, population: Population) -> SystemPrompt:
        """Return the prompt under which the method is evaluated now."""
        return population.newest if self.shown is Shown.NEWEST or self.optimizer is not None else population.best_rated(width=2.0)

    def varied(self, **choices: object) -> "Method":
        """Return the same row with some choices changed."""
        return replace(self, **choices)  # pyright: ignore[reportArgumentType]  # pydantic checks the values in RunConfig

    def require_names(self) -> None:
        """Raise UsageError, with the nearest known name, for a choice that nothing is registered under."""
        for operator in self.operators:
            require(OPERATORS, operator)
        require(SELECTORS, self.selector)
        require(ACCEPTANCES, self.acceptance)
        require(SCHEDULES, self.schedule)
        require(BASELINES, self.baseline)
        require(NORMALISATIONS, self.normalisation)
        if self.optimizer is not None:
            require(OPTIMIZERS, self.optimizer)


ESPL = Method(
    name="espl",
    summary="weights learn by RL while a rated population of system prompts evolves by mutation and crossover",
    learns_weights=True,
    operators=("mutation", "crossover"),
)


def find_method(name: str) -> Method:
    """Return a method by name. Raises UsageError with the nearest known name."""
    return find(METHODS, name)
