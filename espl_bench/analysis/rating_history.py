"""Histories of ratings: every prompt's rating over time, and how often the favourite won."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Final

from espl_bench.evolution.rating import BETA
from espl_bench.runs.population_events import BornEvent, PopulationEvent, RatedEvent
from espl_bench.types import Rating

PAIRED: Final = 100
"""Prompts of one iteration that are compared in pairs; of more, the newest."""


@dataclass(frozen=True, slots=True)
class RatedAt:
    """Rating of a prompt after one iteration."""

    step: int
    rating: Rating
    mean: float | None
    """Mean reward of the prompt in that iteration; None at its birth."""


@dataclass(frozen=True, slots=True)
class Duel:
    """Two prompts with the same problems: the chance by their earlier ratings, and the result."""

    expected: float
    """Chance that the favourite scores higher, by the ratings before the iteration; above 0.5."""
    won: float
    """1 if the favourite won, 0 if it lost, 0.5 for a draw."""


def histories(events: Sequence[PopulationEvent]) -> dict[int, list[RatedAt]]:
    """Map each prompt id to its ratings from birth on, from a population log."""
    ratings: dict[int, list[RatedAt]] = {}
    for event in events:
        if isinstance(event, BornEvent):
            ratings[event.id] = [RatedAt(event.step, Rating(event.mu, event.sigma), None)]
        elif isinstance(event, RatedEvent):
            for key, mean in event.means.items():
                line = ratings[key]
                rating = event.ratings.get(key)
                line.append(RatedAt(event.step, Rating(*rating) if rating else line[-1].rating, mean))
    return ratings


def rating_at(history: Sequence[RatedAt], step: int) -> Rating | None:
    """Return the rating of a prompt after `step` iterations; None before its birth."""
    known = bisect_right(history, step, key=lambda entry: entry.step)
    return history[known - 1].rating if known else None


def duels(events: Sequence[PopulationEvent], tie: float) -> Iterator[Duel]:
    """Yield the ranked pairs that have a favourite. Mean rewards within `tie` are a draw, as in the rating."""
    past = histories(events)
    for event in events:
        if not isinstance(event, RatedEvent) or not event.ratings:
            continue
        before = {key: rating_at(past[key], event.step - 1) for key in sorted(event.means)[-PAIRED:]}
        for a, b in combinations(before, 2):
            mine, other = before[a], before[b]
            if mine is None or other is None:
                continue
            expected = chance(mine, other)
            margin = event.means[a] - event.means[b]
            won = 0.5 if abs(margin) <= tie + 1e-9 else float(margin > 0)
            if expected != 0.5:
                yield Duel(expected, won) if expected > 0.5 else Duel(1.0 - expected, 1.0 - won)


def chance(a: Rating, b: Rating) -> float:
    """Compute the chance that a performs better than b, with normal skills and performances (TrueSkill, Herbrich et al. 2006)."""
    return NormalDist(0.0, (2 * BETA**2 + a.sigma**2 + b.sigma**2) ** 0.5).cdf(a.mu - b.mu)
