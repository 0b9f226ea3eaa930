"""What would separate a gap between two methods: runs, items and samples, from the noise of the scores that are there."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from espl_bench.leaderboard.power import POWER_FACTOR, SAMPLES, estimate_noise
from espl_bench.scores.arrange import ScoredTest
from espl_bench.stats import LEVEL

MOST_ITEMS: Final = 100_000
"""Largest number of items that a design considers."""
RUNS: Final = (2, 3, 5, 10, 20, 50)
"""Numbers of runs that a design considers, where there are runs to learn from."""


@dataclass(frozen=True, slots=True)
class ScoreDesign:
    """Design that separates a gap."""

    runs: int
    items: int
    samples: int
    separates: float


@dataclass(frozen=True, slots=True)
class ScorePlan:
    """What separates a gap between two methods of a test."""

    test: str
    a: str
    b: str
    gap: float
    measured: float
    """Mean difference a - b of the scores that are there."""
    separates_now: float
    """Smallest gap that their design separates."""
    designs: tuple[ScoreDesign, ...]
    """With the fewest samples in all first."""


class Noise(Protocol):
    """Noise of a paired difference."""

    def detects(self, seeds: int, items: int, samples: int) -> float:
        """Return the smallest gap that a design separates with a power of 80 %."""
        ...


@dataclass(frozen=True, slots=True)
class ItemNoise:
    """Variances of the paired difference of one run each."""

    items: float
    samples: float
    """Of one sample of each method."""

    @classmethod
    def of(cls, ours_IK: NDArray[np.float64], theirs_IK: NDArray[np.float64]) -> "ItemNoise":
        """Estimate them. With one sample of each item, all of the noise counts as that of items."""
        samples = ours_IK.shape[1]
        cells = float((ours_IK.mean(axis=1) - theirs_IK.mean(axis=1)).var(ddof=1))
        drawn = float(ours_IK.var(axis=1, ddof=1).mean() + theirs_IK.var(axis=1, ddof=1).mean()) if samples > 1 else 0.0
        drawn = min(drawn, cells * samples)
        return cls(cells - drawn / samples, drawn)

    def detects(self, seeds: int, items: int, samples: int) -> float:
        """Return the smallest gap that the design separates with a power of 80 %; the number of seeds does not matter."""
        if items < 2:
            return math.inf
        variance = (self.items + self.samples / samples) / items
        return POWER_FACTOR * float(stdtrit(items - 1, 0.5 + LEVEL / 2)) * math.sqrt(variance)


def noise_of(test: ScoredTest, a: str, b: str) -> Noise | None:
    """Estimate the noise of a pair. None without a shared run, or with fewer than two items of which no sample failed."""
    runs = test.shared(a, b)
    if not runs:
        return None
    ours, theirs = test.methods[a].samples_on(runs), test.methods[b].samples_on(runs)
    if ours.shape[1] < 2:
        return None
    return estimate_noise(ours, theirs) if len(runs) > 1 else ItemNoise.of(ours[0], theirs[0])


def plan_scores(test: ScoredTest, a: str, b: str, gap: float) -> ScorePlan | None:
    """Find the fewest items for each number of runs and samples. None for a pair whose noise cannot be estimated."""
    noise, runs = noise_of(test, a, b), test.shared(a, b)
    if noise is None:
        return None
    designs = [
        ScoreDesign(number, items, samples, noise.detects(number, items, samples))
        for number, samples, items in _fewest_items(noise, RUNS if len(runs) > 1 else (1,), gap)
    ]
    return ScorePlan(
        test=test.name,
        a=a,
        b=b,
        gap=gap,
        measured=float((test.methods[a].on(runs) - test.methods[b].on(runs)).mean()),
        separates_now=noise.detects(len(runs), len(test.items), test.samples),
        designs=tuple(sorted(designs, key=lambda design: (design.runs * design.items * design.samples, design.samples))),
    )


def _fewest_items(noise: Noise, runs: tuple[int, ...], gap: float) -> Iterator[tuple[int, int, int]]:
    """Yield runs, samples and the fewest items; nothing where `MOST_ITEMS` are too few."""
    for number in runs:
        for samples in SAMPLES:
            if noise.detects(number, MOST_ITEMS, samples) > gap:
                continue
            low, high = 1, MOST_ITEMS
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if noise.detects(number, middle, samples) > gap else (low, middle)
            yield number, samples, high
