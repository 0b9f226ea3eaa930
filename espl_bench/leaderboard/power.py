"""How many seeds, items and samples separate a given gap, from what existing runs show of the noise.

The paired difference of two methods has a part that belongs to the training seed, one to the item, one to both together, and the noise
of single samples. The four variances are estimated from runs (two-way analysis of variance; the samples of a cell give the last one). A
design of R seeds, I items and K samples then has an expected interval, made as the tables make theirs. It separates a gap with a power
of 80 % if the gap is as long as the half width times (1 + z_0.80 / z_0.975).
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
"""What a gap must be, in half widths, to be separated in four of five experiments."""
MOST_SEEDS: Final = 100
"""Beyond this the plan says that the design does not do."""
SAMPLES: Final = (1, 2, 4, 8, 16, 32)
"""Samples per item that are looked at."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Variances of the paired difference of two methods, scores in 0..1."""

    seeds: float
    items: float
    both: float
    """What one seed does on one item, beyond the two."""
    samples: float
    """Of one sample of each method; K samples have a K-th of it."""

    def half_width(self, seeds: int, items: int, samples: int) -> float:
        """Expected half width of the 95 % interval of the mean difference. Infinite for one seed: it says nothing of others."""
        rest = self.both + self.samples / samples
        if seeds < 2:
            return math.inf
        of_cells = rest / (seeds * items)
        return half_width_of(seeds, items, by_runs=self.seeds / seeds + of_cells, by_items=self.items / items + of_cells, rest=of_cells)

    def detects(self, seeds: int, items: int, samples: int) -> float:
        """The smallest gap that the design separates with a power of 80 %."""
        return POWER_FACTOR * self.half_width(seeds, items, samples)


@dataclass(frozen=True, slots=True)
class Design:
    """One way to separate the gap, and what it costs: both methods, training and the final test."""

    seeds: int
    items: int
    samples: int
    detects: float
    rollouts: float
    """Of training and test."""
    tokens: float
    """Sampled: training, reflections, evaluations."""
    hours: float
    """One run after the other, on the machine that the existing runs were made on."""


@dataclass(frozen=True, slots=True)
class PowerPlan:
    """What separates a gap between two methods on one test."""

    env: str
    model: str
    a: str
    b: str
    seeds: int
    """Of the existing runs that the noise was estimated from."""
    gap: float
    measured: float
    """Mean difference a - b now."""
    noise: Noise
    detects_now: float
    """What the existing runs can separate."""
    designs: tuple[Design, ...]
    """The cheapest first, in hours."""


def estimate_noise(a_RIK: NDArray[np.float64], b_RIK: NDArray[np.float64]) -> Noise:
    """The variances, from two methods' rewards on the same seeds and items. A negative estimate is 0.

    Raises ValueError for one seed or item.

    With one sample per item what belongs to seed and item together cannot be told from the noise of samples; all of it counts as noise.
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
    """The cheapest number of seeds for each number of items and samples. Raises ValueError as `estimate_noise`.

    Args:
        test: existing runs.
        a: a method of it.
        b: another.
        gap: to be separated, in 0..1.
        items: numbers of test items to look at.
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
    """The fewest seeds that do; nothing if even the most do not."""
    for seeds in range(2, MOST_SEEDS + 1):
        if (detected := noise.detects(seeds, items, samples)) <= gap:
            yield _priced(seeds, items, samples, detected, runs)
            return


def _priced(seeds: int, items: int, samples: int, detected: float, runs: Sequence[Summary]) -> Design:
    """Learning and evaluations on the way cost what they cost; the final test costs by its samples."""
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
    """Of an evaluation: the run's time outside of iterations, shared out over what it evaluated."""
    learning = max((point.spent.seconds for point in run.curve), default=0.0)
    return max(0.0, run.ledger.wall_s - learning) / run.ledger.eval_rollouts
