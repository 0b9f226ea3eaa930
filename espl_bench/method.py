"""A method is a row of choices. There is one loop; base, rl_only, reflection_only, evolution_only and espl differ only here."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from espl_bench.evolution.population import Population
from espl_bench.learning.advantages import Baseline
from espl_bench.types import Origin, SystemPrompt

SelectorName = Literal["top_plus_random", "softmax", "ucb", "lucb", "uniform"]


class Shown(StrEnum):
    """Which prompt stands for the method when it is evaluated. Chosen from training ratings alone."""

    BEST = "best"
    """The highest mu - 2 sigma. The reference code shows the newest prompt, rated or not; the paper does not say."""
    NEWEST = "newest"


class EditorChoice(StrEnum):
    """Whose weights write the reflections."""

    REFERENCE = "reference"
    """The frozen base model (paper; its ablation finds the drifting policy a worse editor)."""
    CURRENT = "current"


@dataclass(frozen=True)
class Method:
    """One row of the comparison."""

    name: str
    summary: str
    learns_weights: bool = False
    operators: tuple[Origin, ...] = ()
    """How prompts are bred, in this order; empty: the root prompt stays alone."""
    population_size: Annotated[int, Field(ge=1)] = 10
    """Newest prompts that live and may be selected; the oldest leaves first (paper: K = 10). 1: a child replaces its parent."""
    selector: SelectorName = "top_plus_random"
    crossover_prob: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Chance of a crossover per iteration."""
    baseline: Baseline = Baseline.PER_PROMPT
    """What a reward is compared with. A lone root prompt is sampled K times; ACROSS_PROMPTS makes these one group of K·G."""
    editor: EditorChoice = EditorChoice.REFERENCE
    shown: Shown = Shown.BEST

    @property
    def is_static(self) -> bool:
        """Nothing is learned, so there is nothing to iterate."""
        return not self.learns_weights and not self.operators

    def shown_prompt(self, population: Population) -> SystemPrompt:
        """The prompt under which the method is evaluated now."""
        return population.newest if self.shown is Shown.NEWEST else population.best_rated(width=2.0)

    def varied(self, **choices: object) -> "Method":
        """The same row with some choices changed."""
        return replace(self, **choices)  # pyright: ignore[reportArgumentType]  # pydantic checks the values in RunConfig


ESPL = Method(
    name="espl",
    summary="weights learn by RL while a rated population of system prompts evolves by mutation and crossover",
    learns_weights=True,
    operators=(Origin.MUTATION, Origin.CROSSOVER),
)
