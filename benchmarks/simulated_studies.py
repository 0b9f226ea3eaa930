"""Simulated studies of five methods whose truth is known, for claims_of_tables.py; and what tables compute, for many studies at once.

Rewards are drawn as in coverage_of_intervals.py: log-odds are a level plus effects of run, item, method on item, and run on item. The runs
of a method scatter around one level, or a quarter of them is of another kind. Arrays have axes (experiments, methods, runs, items).
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from coverage_of_intervals import BOTH, OWN, Array, Law, odds
from scipy.optimize import brentq
from scipy.special import ndtri, stdtr, stdtrit

from espl_bench.leaderboard.seed_notes import RARE

METHODS = 5
PAIRS = tuple(combinations(range(METHODS), 2))
ITEM_SD = 2.0
NODES = 100
"""Values of equal weight that stand for a law in a sum."""


@dataclass(frozen=True)
class Seeds:
    """How the runs of a method differ, in log-odds."""

    sd: float
    shift: float = 0.0
    """Added to a quarter of the runs."""
    heavy: bool = False
    """Student's t with two degrees of freedom, `sd` times it, instead of a normal law."""

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Effects of runs, and which runs are of the other kind."""
        other = rng.random(shape) < RARE
        scatter = rng.standard_t(2, shape) if self.heavy else rng.standard_normal(shape)
        return self.sd * scatter + self.shift * other, other & (self.shift != 0.0)

    def nodes(self) -> Array:
        """Effects of equal weight that stand for the law of each kind; the last axis is the kind."""
        chances = (np.arange(NODES) + 0.5) / NODES
        scatter = self.sd * np.asarray(stdtrit(2, chances) if self.heavy else ndtri(chances))
        return np.stack([scatter, scatter + self.shift], axis=1)


@dataclass(frozen=True)
class Study:
    """Five methods with one test."""

    name: str
    truths: tuple[float, ...]
    """Mean reward of each method over all runs and items."""
    seeds: tuple[Seeds, ...]
    """Of each method."""
    law: Law = Law.NORMAL
    """Of the items."""

    def levels(self) -> list[float]:
        """Log-odds at which each method has its truth."""
        return [level_of(truth, seeds, self.law) for truth, seeds in zip(self.truths, self.seeds, strict=True)]

    def draw(self, rng: np.random.Generator, number: int, runs: int, items: int, samples: int) -> tuple[Array, Array]:
        """Mean rewards of cells, and which runs are of the other kind."""
        of_items = ITEM_SD * np.stack([self.law.draw(rng, items) for _ in range(number)])[:, None, None, :]
        drawn = [seeds.draw(rng, (number, runs)) for seeds in self.seeds]
        of_runs = np.stack([level + effects for level, (effects, _) in zip(self.levels(), drawn, strict=True)], axis=1)
        own = OWN * rng.standard_normal((number, METHODS, 1, items))
        both = BOTH * rng.standard_normal((number, METHODS, runs, items))
        cells = rng.binomial(samples, odds(of_runs[..., None] + of_items + own + both)) / samples
        return cells, np.stack([other for _, other in drawn], axis=1)


@cache
def level_of(truth: float, seeds: Seeds, law: Law) -> float:
    """Solve for the level at which a method has its truth; what differs by method and cell is a normal effect."""
    points, of_points = np.polynomial.hermite_e.hermegauss(11)
    items = law.nodes()
    of_items = ITEM_SD * items.reshape(min(NODES, len(items)), -1).mean(axis=1)
    effects = seeds.nodes()[:, :, None, None] + of_items[:, None] + np.hypot(BOTH, OWN) * points
    weights = np.asarray([1.0 - RARE, RARE])[:, None, None] * of_points / of_points.sum()
    scale = len(effects) * len(of_items)
    return float(brentq(lambda level: float((odds(level + effects) * weights).sum()) / scale - truth, -15.0, 15.0, xtol=1e-4))


@dataclass(frozen=True)
class PairTests:
    """Paired differences of all pairs of methods; axes (experiments, pairs)."""

    gaps: Array
    terms: tuple[tuple[Array, Array | float], ...]
    """Variances of the mean differences, each with its degrees of freedom, as in `espl_bench.stats`."""

    def p_values(self) -> Array:
        """`espl_bench.stats.difference_p` of each."""
        return np.max([_p(np.abs(self.gaps), variance, freedom) for variance, freedom in self.terms], axis=0)

    def squared_half_widths(self, level: float) -> Array:
        """Squared half widths of `espl_bench.stats.difference_interval`."""
        return np.max([stdtrit(freedom, (1 + level) / 2) ** 2 * variance for variance, freedom in self.terms], axis=0)


def pair_tests(cells: Array) -> PairTests:
    """Compare all pairs. Sums of squares of a difference come from the products of both methods' deviations."""
    number, methods, runs, items = cells.shape
    mean, of_runs, of_items = (cells.mean(axis=axes, keepdims=True) for axes in ((2, 3), 3, 2))
    by_runs = _of_pairs((of_runs - mean).reshape(number, methods, -1)) / (runs * (runs - 1))
    by_items = _of_pairs((of_items - mean).reshape(number, methods, -1)) / (items * (items - 1))
    rest = _of_pairs((cells - of_runs - of_items + mean).reshape(number, methods, -1)) / (runs * (runs - 1) * items * (items - 1))
    both = by_runs + by_items - rest
    spread = by_runs**2 / (runs - 1) + by_items**2 / (items - 1) + rest**2 / ((runs - 1) * (items - 1))
    largest = np.maximum(np.maximum(both, by_runs), by_items)
    freedom = np.maximum(np.divide(largest**2, spread, out=np.ones_like(spread), where=spread > 0), min(runs, items) - 1)
    gaps = np.stack([(mean[:, a] - mean[:, b])[:, 0, 0] for a, b in PAIRS], axis=1)
    return PairTests(gaps, ((by_runs, runs - 1), (by_items, items - 1), (np.maximum(both, 0.0), freedom)))


def _of_pairs(deviations: Array) -> Array:
    """Sum of squares of the difference of each pair."""
    products = deviations @ deviations.swapaxes(1, 2)
    return np.stack([np.maximum(products[:, a, a] + products[:, b, b] - 2 * products[:, a, b], 0.0) for a, b in PAIRS], axis=1)


def _p(gap: Array, variance: Array, freedom: Array | float) -> Array:
    safe = np.sqrt(np.where(variance > 0, variance, 1.0))
    return np.where(variance > 0, 2 * stdtr(freedom, -gap / safe), np.where(gap > 0, 0.0, 1.0))


def equal(name: str, truth: float, *seeds: Seeds, law: Law = Law.NORMAL) -> Study:
    """A study of methods of equal truth; one kind of seeds is everybody's."""
    return Study(name, (truth,) * METHODS, seeds if len(seeds) > 1 else seeds * METHODS, law)
