"""Power analysis: how many seeds, items and samples separate a given gap, with the noise estimated from existing runs.

The paired difference of two methods varies with the training seed, with the item, with both together, and from sample to sample. The
four variances are estimated from runs (two-way analysis of variance; the samples of a cell give the last one). A design of R seeds, I
items and K samples then has an expected interval, computed as in the tables. It separates a gap with a power of 80 % if the gap is at
least the half width times (1 + z_0.80 / z_0.975).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from espl_bench.leaderboard.grouping import TestGroup, mean
from espl_bench.runs.summary import Summary
from espl_bench.stats import half_width_of

POWER_FACTOR: Final = 1 + 0.8416 / 1.9600
"""Gap, in half widths, that is separated in four of five experiments."""
MOST_SEEDS: Final = 100
"""Largest number of seeds that a plan considers."""
SAMPLES: Final = (1, 2, 4, 8, 16, 32)
"""Samples per item that a plan considers."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Variances of the paired difference of two methods, for scores in 0..1."""

    seeds: float
    items: float
    both: float
    """Interaction of seed and item."""
    samples: float
    """Variance of one sample of each method; the mean of K samples has a K-th of it."""

    def half_width(self, seeds: int, items: int, samples: int) -> float:
        """Compute the expected half width of the 95 % interval of the mean difference. Infinite for one seed."""
        rest = self.both + self.samples / samples
        if seeds < 2:
            return math.inf
        of_cells = rest / (seeds * items)
        return half_width_of(seeds, items, by_runs=self.seeds / seeds + of_cells, by_items=self.items / items + of_cells, rest=of_cells)

    def detects(self, seeds: int, items: int, samples: int) -> float:
        """Compute the smallest gap that the design separates with a power of 80 %."""
        return POWER_FACTOR * self.half_width(seeds, items, samples)


@dataclass(frozen=True, slots=True)
class Design:
    """Design that separates the gap, and its cost: both methods, training and the final test."""

    seeds: int
    items: int
    samples: int
    detects: float
    rollouts: float
    """Rollouts of training and test."""
    tokens: float
    """Sampled tokens of training, reflections and evaluations."""
    hours: float
    """Time of all runs, one after the other, on the machine of the existing runs."""


@dataclass(frozen=True, slots=True)
class PowerPlan:
    """Plan to separate a gap between two methods on one test."""

    env: str
    model: str
    a: str
    b: str
    seeds: int
    """Number of seeds that the noise was estimated from."""
    gap: float
    measured: float
    """Mean difference a - b of the existing runs."""
    noise: Noise
    detects_now: float
    """Smallest gap that the existing runs can separate."""
    designs: tuple[Design, ...]
    """Cheapest first, in hours."""


def estimate_noise(a_RIK: NDArray[np.float64], b_RIK: NDArray[np.float64]) -> Noise:
    """Estimate the variances from two methods' rewards on the same seeds and items. A negative estimate becomes 0.

    Raises ValueError for one seed or item.

    With one sample per item the interaction of seed and item cannot be separated from the noise of samples; all of it counts as noise.
    """
    runs, items, samples = a_RIK.shape
    if runs < 2 or items < 2:
        raise ValueError("the noise needs two seeds and two items")
    noise = float(a_RIK.var(axis=2, ddof=1).mean() + b_RIK.var(axis=2, ddof=1).mean()) if samples > 1 else math.inf
    cells = a_RIK.mean(axis=2) - b_RIK.mean(axis=2)
    centre, of_runs, of_items = cells.mean(), cells.mean(axis=1), cells.mean(axis=0)
    by_runs = items * float(of_runs.var(ddof=1))
    by_items = runs * float(of_items.var(ddof=1))
    rest = float(((cells - of_runs[:, None] - of_items + centre) ** 2).sum()) / ((runs - 1) * (items - 1))
    noise = min(noise, rest * samples)
    return Noise(
        seeds=max(0.0, (by_runs - rest) / items),
        items=max(0.0, (by_items - rest) / runs),
        both=rest - noise / samples,
        samples=noise,
    )


def plan(test: TestGroup, a: str, b: str, gap: float, items: Sequence[int]) -> PowerPlan:
    """Find the fewest seeds for each number of items and samples. Raises ValueError as `estimate_noise`.

    Args:
        test: existing runs.
        a: a method of it.
        b: another.
        gap: difference to separate, in 0..1.
        items: numbers of test items to consider.
    """
    shared = test.shared(a, b)
    ours, theirs = (test.methods[label].samples_on(shared) for label in (a, b))
    noise = estimate_noise(ours, theirs)
    runs = [run for label in (a, b) for run in test.methods[label].runs.values()]
    designs = [design for number in items for samples in SAMPLES for design in _designs(noise, gap, number, samples, runs)]
    return PowerPlan(
        env=test.env,
        model=test.model,
        a=a,
        b=b,
        seeds=len(shared),
        gap=gap,
        measured=float((ours - theirs).mean()),
        noise=noise,
        detects_now=noise.detects(len(shared), test.n_items, test.k),
        designs=tuple(sorted(designs, key=lambda design: (design.hours, design.rollouts, design.samples))),
    )


def _designs(noise: Noise, gap: float, items: int, samples: int, runs: Sequence[Summary]) -> Iterator[Design]:
    """Yield the design with the fewest seeds; nothing if `MOST_SEEDS` are too few."""
    for seeds in range(2, MOST_SEEDS + 1):
        if (detected := noise.detects(seeds, items, samples)) <= gap:
            yield _priced(seeds, items, samples, detected, runs)
            return


def _priced(seeds: int, items: int, samples: int, detected: float, runs: Sequence[Summary]) -> Design:
    """Estimate a design's cost: training and its evaluations as measured, the final test scaled by its samples."""
    number = 2 * seeds
    tested = mean(run.n_items * run.k for run in runs)
    eval_tokens = mean(run.ledger.eval_tokens / run.ledger.eval_rollouts for run in runs)
    eval_seconds = mean(_seconds_per_sample(run) for run in runs)
    more = items * samples - tested
    return Design(
        seeds=seeds,
        items=items,
        samples=samples,
        detects=detected,
        rollouts=number * (mean(run.ledger.rollouts + run.ledger.eval_rollouts for run in runs) + more),
        tokens=number * (mean(_tokens(run) for run in runs) + more * eval_tokens),
        hours=number * (mean(run.ledger.wall_s for run in runs) + more * eval_seconds) / 3600,
    )


def _tokens(run: Summary) -> int:
    return run.ledger.generated_tokens + run.ledger.reflection_tokens + run.ledger.eval_tokens


def _seconds_per_sample(run: Summary) -> float:
    """Estimate the seconds per evaluation sample: the run's time outside iterations, divided by its evaluation rollouts."""
    learning = max((point.spent.seconds for point in run.curve), default=0.0)
    return max(0.0, run.ledger.wall_s - learning) / run.ledger.eval_rollouts
