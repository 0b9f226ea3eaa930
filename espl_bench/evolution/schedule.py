"""When weights learn and when prompts are bred, for methods that do both."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from espl_bench.registry import SCHEDULES, find


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run at the start of an iteration."""

    step: int
    """Iterations finished."""
    steps: int
    """Total iterations."""
    rollouts: int
    """Training episodes so far."""
    generated_tokens: int
    """Tokens sampled in these episodes."""


class Prompts(StrEnum):
    """The prompts that an iteration rolls out."""

    SELECTED = "selected"
    """Those that the method's selector picks (paper)."""
    EVOLVED = "evolved"
    """The best of the population alone, in every place."""
    ROOT = "root"
    """The root prompt alone, in every place. It is not rated."""


@dataclass(frozen=True, slots=True)
class Halves:
    """The halves of a method that learn from one iteration, and under which prompts. Selected prompts are rated in any case."""

    weights: bool
    words: bool
    prompts: Prompts = Prompts.SELECTED
    distil: bool = False
    """Whether weights learn from the method's teacher, under the best of the population, instead of from rewards."""


Schedule = Callable[[Progress, int], Halves]
"""(progress, the method's `schedule_period`) → halves that learn. A pure function, so that a resumed run decides the same."""


def together(progress: Progress, period: int) -> Halves:
    """Schedule both in every iteration (paper)."""
    return Halves(weights=True, words=True)


def words_every_period(progress: Progress, period: int) -> Halves:
    """Schedule weights in every iteration, words in the last iteration of each period."""
    return Halves(weights=True, words=(progress.step + 1) % period == 0)


def alternating(progress: Progress, period: int) -> Halves:
    """Schedule words for one period, then weights for one period, and so on."""
    words = progress.step // period % 2 == 0
    return Halves(weights=not words, words=words)


def words_then_weights(progress: Progress, period: int) -> Halves:
    """Schedule words in the first half of the iterations, weights in the second."""
    words = 2 * progress.step < progress.steps
    return Halves(weights=not words, words=words)


def weights_then_words(progress: Progress, period: int) -> Halves:
    """Schedule weights in the first half of the iterations, words in the second."""
    weights = 2 * progress.step < progress.steps
    return Halves(weights=weights, words=not weights)


TOGETHER: Final = "together"
"""The default schedule."""


def find_schedule(name: str) -> Schedule:
    """Return a schedule by name. Raises UsageError with the nearest known name."""
    return find(SCHEDULES, name)
