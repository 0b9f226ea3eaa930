"""Selectors: strategies that choose the system prompts of a step from the window of rated prompts.

A selector only *orders* the window, strongest claim first. Taking the first M of that order, reserving a place for the newest prompt and
repeating when the window is too small are the same for all of them, in :func:`take`. Reserving the place after ordering leaves the
distribution over the other prompts as it would be without the newest.
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
"""The paper's lambda: distance of the bounds from mu, in sigmas."""


class Selector(Protocol):
    """Picks the prompts of one step."""

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Return exactly ``num_prompts`` prompts of the window, strongest claim first.

        Args:
            window: the newest prompts of the population, at least one, each once.
            history: rewards of each prompt on each problem so far; for rules that look at single problems, such as Pareto fronts.
            num_prompts: M of the paper, at least 1. A smaller window is taken whole and then repeated from the front.
            rng: the step's generator; deterministic selectors do not use it.

        Raises:
            ValueError: empty window or fewer than one prompt wanted.
        """
        ...


@dataclass(frozen=True, slots=True)
class TopPlusRandom:
    """The paper's "simplified selection", the one it ran: highest mu + width * sigma, the rest uniformly at random."""

    width: float = WIDTH
    include_newest: bool = True
    """True if the newest prompt always has a place, if there are two or more: the last one, unless it earned another."""

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Return the top prompt, then others uniformly without replacement."""
        top, *others = _by_optimism(window, self.width)
        return take([top, *_shuffled(others, rng)], num_prompts, self.include_newest)


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
        """Order by logit plus Gumbel noise (Gumbel-top-k), which draws without replacement and cannot overflow."""
        logits = np.array([optimistic(prompt.rating, self.width) for prompt in window]) / self.temperature
        noisy = logits + rng.gumbel(size=len(window))
        order = [window[int(index)] for index in np.argsort(-noisy, kind="stable")]
        return take(order, num_prompts, self.include_newest)


@dataclass(frozen=True, slots=True)
class Ucb:
    """Selects the M highest by mu + width * sigma. Deterministic."""

    width: float = WIDTH
    include_newest: bool = True

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Order by upper bound, highest first; of equals, the older."""
        return take(_by_optimism(window, self.width), num_prompts, self.include_newest)


@dataclass(frozen=True, slots=True)
class Lucb:
    """Selects the champion by mu - width * sigma, then the top challengers by mu + width * sigma. Deterministic."""

    width: float = WIDTH
    include_newest: bool = True

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Put the champion first, then order by upper bound; of equals, the older."""
        order = _by_optimism(window, self.width)
        champion = min(order, key=lambda prompt: (-conservative(prompt.rating, self.width), prompt.id))
        order.remove(champion)
        return take([champion, *order], num_prompts, self.include_newest)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Selects uniformly at random, without replacement, whatever the ratings."""

    include_newest: bool = True

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Return a random order of the window."""
        return take(_shuffled(window, rng), num_prompts, self.include_newest)


TOP_PLUS_RANDOM: Final = TopPlusRandom()
SOFTMAX: Final = Softmax()
UCB: Final = Ucb()
LUCB: Final = Lucb()
UNIFORM: Final = Uniform()
"""The registered selectors, with the paper's settings."""


def find_selector(name: str) -> Selector:
    """Return a selector by name. Raises UsageError with the nearest known name."""
    return find(SELECTORS, name)


def _by_optimism(window: Sequence[SystemPrompt], width: float) -> list[SystemPrompt]:
    """Sort the window by upper bound, highest first; of equals, the older first."""
    if not window:
        raise ValueError("cannot select from an empty window")
    return sorted(window, key=lambda prompt: (-optimistic(prompt.rating, width), prompt.id))


def _shuffled(prompts: Sequence[SystemPrompt], rng: np.random.Generator) -> list[SystemPrompt]:
    return [prompts[int(index)] for index in rng.permutation(len(prompts))]


def take(order: Sequence[SystemPrompt], num_prompts: int, include_newest: bool) -> tuple[SystemPrompt, ...]:
    """Return the first ``num_prompts`` of the order, repeated if it is short; the newest comes last if it was left out.

    A single place belongs to the strongest claim, not to the newest.
    """
    if not order:
        raise ValueError("cannot select from an empty window")
    if num_prompts < 1:
        raise ValueError(f"a step needs at least one prompt, not {num_prompts}")
    chosen = tuple(islice(cycle(order), num_prompts))
    newest = max(order, key=lambda prompt: prompt.id)
    if include_newest and num_prompts > 1 and newest not in chosen:
        return (*chosen[:-1], newest)
    return chosen
