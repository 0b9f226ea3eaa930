"""Which system prompts are rolled out in a step: small strategies over the rated window.

A strategy only *orders* the window, best claim first. Taking the first M of that order, keeping a place for the newest
prompt and repeating when the window is too small is the same for all of them and stands in :func:`_take`.
Reserving the place after ordering leaves the distribution over the other prompts as it would be without the newest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final, Protocol

import numpy as np

from espl_bench.evolution.history import History
from espl_bench.evolution.rating import conservative, optimistic
from espl_bench.registry import SELECTORS, find
from espl_bench.types import SystemPrompt

WIDTH: Final = 2.0
"""The paper's lambda: how many sigmas the bounds stand from mu."""


class Selector(Protocol):
    """Picks the prompts of one step."""

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Exactly ``num_prompts`` prompts of the window, strongest claim first.

        Args:
            window: the newest prompts of the population, at least one, each once.
            history: what each of them earned on each problem so far; for rules that look at problems one by one, such as Pareto fronts.
            num_prompts: M of the paper, at least 1. A smaller window is taken whole and then repeated from the front.
            rng: the step's generator; selectors that draw nothing leave it untouched.

        Raises:
            ValueError: empty window or fewer than one prompt wanted.
        """
        ...


@dataclass(frozen=True, slots=True)
class TopPlusRandom:
    """The paper's "simplified selection", the one it ran: highest mu + width * sigma, the rest uniformly at random."""

    width: float = WIDTH
    include_newest: bool = True
    """Whether the newest prompt always has a place; it takes the last one if it did not earn any."""

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """The top prompt, then the others uniformly without replacement."""
        top, *others = _by_optimism(window, self.width)
        return _take([top, *_shuffled(others, rng)], num_prompts, self.include_newest)


@dataclass(frozen=True, slots=True)
class Softmax:
    """The paper's formula: p proportional to exp((mu + width * sigma) / temperature), without replacement."""

    temperature: float = 1.0
    """In rating points; above 0. The paper states no value."""
    width: float = WIDTH
    include_newest: bool = True

    def __post_init__(self) -> None:
        """Reject a temperature that is not above 0."""
        if not self.temperature > 0:
            raise ValueError(f"softmax selection needs a temperature above 0, not {self.temperature}")

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Gumbel-top-k: ordering by logit plus Gumbel noise draws without replacement, and cannot overflow."""
        logits = np.array([optimistic(prompt.rating, self.width) for prompt in window]) / self.temperature
        noisy = logits + rng.gumbel(size=len(window))
        order = [window[int(place)] for place in np.argsort(-noisy, kind="stable")]
        return _take(order, num_prompts, self.include_newest)


@dataclass(frozen=True, slots=True)
class Ucb:
    """The M highest by mu + width * sigma; draws nothing."""

    width: float = WIDTH
    include_newest: bool = True

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Highest upper bound first; of equals, the older."""
        return _take(_by_optimism(window, self.width), num_prompts, self.include_newest)


@dataclass(frozen=True, slots=True)
class Lucb:
    """The champion by mu - width * sigma, then the top challengers by mu + width * sigma; draws nothing."""

    width: float = WIDTH
    include_newest: bool = True

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Champion first; of equals, the older."""
        order = _by_optimism(window, self.width)
        champion = min(order, key=lambda prompt: (-conservative(prompt.rating, self.width), prompt.id))
        order.remove(champion)
        return _take([champion, *order], num_prompts, self.include_newest)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniformly at random, without replacement; blind to ratings."""

    include_newest: bool = True

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """A random order of the window."""
        return _take(_shuffled(window, rng), num_prompts, self.include_newest)


TOP_PLUS_RANDOM: Final = TopPlusRandom()
SOFTMAX: Final = Softmax()
UCB: Final = Ucb()
LUCB: Final = Lucb()
UNIFORM: Final = Uniform()
"""The registered ones, with the paper's settings."""


def find_selector(name: str) -> Selector:
    """Return a selector by name. Raises UsageError with the nearest known name."""
    return find(SELECTORS, name)


def _by_optimism(window: Sequence[SystemPrompt], width: float) -> list[SystemPrompt]:
    """The window by upper bound, highest first; of equals, the older first."""
    if not window:
        raise ValueError("cannot select from an empty window")
    return sorted(window, key=lambda prompt: (-optimistic(prompt.rating, width), prompt.id))


def _shuffled(prompts: Sequence[SystemPrompt], rng: np.random.Generator) -> list[SystemPrompt]:
    return [prompts[int(place)] for place in rng.permutation(len(prompts))]


def _take(order: Sequence[SystemPrompt], num_prompts: int, include_newest: bool) -> tuple[SystemPrompt, ...]:
    """The first ``num_prompts`` of the order, repeated if it is short; the newest comes last if it fell out."""
    if not order:
        raise ValueError("cannot select from an empty window")
    if num_prompts < 1:
        raise ValueError(f"a step needs at least one prompt, not {num_prompts}")
    chosen = tuple(islice(cycle(order), num_prompts))
    newest = max(order, key=lambda prompt: prompt.id)
    if include_newest and newest not in chosen:
        return (*chosen[:-1], newest)
    return chosen
