"""How often the intervals of a table hold the truth, in simulated experiments whose truth is known.

    python benchmarks/coverage_of_intervals.py [--experiments 10000] [--write docs/statistics.md]

An experiment is (runs x items x samples) of 0/1 rewards. The log-odds of a reward are a level plus an effect of the run,
an effect of the item, and one of both; the truth is the mean over all runs and items there could be. Printed for each
world: how often the table's interval and a plain bootstrap (seeds, then items, then samples; percentiles) hold it; and for
two methods of equal truth on the same items, how often each says that they differ. What is slow, the plain bootstrap and the
permutation test, looks at every tenth experiment. Nothing depends on the time or the machine.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page_block import print_all, write_between
from scipy.special import ndtri

from espl_bench.seeding import rng_for
from espl_bench.stats import difference_interval, iqm, iqm_interval, mean_interval, permutation_p

Array = NDArray[np.float64]
BOTH = 0.5
"""Standard deviation of the effect that belongs to one run on one item, in log-odds."""
OWN = 0.5
"""Standard deviation, in log-odds, of what an item is harder for one method than for the other."""
PLAIN_DRAWS = 500
MARKS = "<!-- coverage -->", "<!-- end of coverage -->"
AIM = 0.93, 0.97
"""Shares between which an interval of 95 % should cover."""
EVERY = 10
"""Of the experiments, those that the slow comparisons look at."""


class Law(StrEnum):
    """How items differ; each has mean 0 and standard deviation 1."""

    NORMAL = "normal"
    EASY_TAIL = "most alike, some far easier"
    HARD_TAIL = "most alike, some far harder"
    TWO_KINDS = "two kinds"

    def draw(self, rng: np.random.Generator, items: int) -> Array:
        """Difficulties of that many items."""
        match self:
            case Law.NORMAL:
                return rng.standard_normal(items)
            case Law.TWO_KINDS:
                return rng.choice(np.asarray([-1.0, 1.0]), items)
            case _:
                return self._sign * (rng.standard_exponential(items) - 1.0)

    def nodes(self) -> Array:
        """Values of equal weight that stand for the law in a sum."""
        chances = (np.arange(2000) + 0.5) / 2000
        match self:
            case Law.NORMAL:
                return np.asarray(ndtri(chances))
            case Law.TWO_KINDS:
                return np.asarray([-1.0, 1.0])
            case _:
                return self._sign * (-np.log1p(-chances) - 1.0)

    @property
    def _sign(self) -> float:
        return 1.0 if self is Law.EASY_TAIL else -1.0


@dataclass(frozen=True)
class World:
    """What is true. Standard deviations are in log-odds."""

    level: float
    seed_sd: float
    item_sd: float
    runs: int = 3
    items: int = 30
    samples: int = 10
    law: Law = Law.NORMAL

    @property
    def name(self) -> str:
        """A row's first cells."""
        law = "" if self.law is Law.NORMAL else f", {self.law}"
        return f"{self.runs} × {self.items} × {self.samples} | {self.truth:.2f} | {self.seed_sd:.1f} | {self.item_sd:.1f}{law}"

    @property
    def truth(self) -> float:
        """The mean reward: a Riemann sum over the normal sum of the other effects, for each node of the items' law."""
        deviation = np.sqrt(self.seed_sd**2 + (self.item_sd > 0) * (BOTH**2 + OWN**2))
        nodes = np.linspace(-8.0, 8.0, 401)
        weights = np.exp(-(nodes**2) / 2)
        chances = odds(self.level + deviation * nodes + self.item_sd * self.law.nodes()[:, None])
        return float((weights * chances).sum() / (weights.sum() * len(chances)))

    def draw(self, rng: np.random.Generator, items_I: Array) -> Array:
        """The (runs, items, samples) rewards of one method on items of these difficulties."""
        effects = self.seed_sd * rng.standard_normal((self.runs, 1)) + items_I
        if self.item_sd > 0:
            effects = effects + OWN * rng.standard_normal(self.items) + BOTH * rng.standard_normal((self.runs, self.items))
        chance_RI = odds(self.level + effects)
        return (rng.random((self.runs, self.items, self.samples)) < chance_RI[:, :, None]).astype(np.float64)

    def difficulties(self, rng: np.random.Generator) -> Array:
        """Items as they come."""
        return self.item_sd * self.law.draw(rng, self.items)


LEVELS = (-4.5, 0.0, 4.5)
OURS = tuple(World(level, seed_sd, item_sd) for level in LEVELS for seed_sd in (0.0, 0.3, 1.0) for item_sd in (1.5, 2.5))
CORNERS = tuple(World(level, seed_sd, 0.0) for level in (-3.0, 0.0) for seed_sd in (0.0, 0.3, 1.0))
LARGER = tuple(World(0.0, seed_sd, 2.0, runs, items, 4) for runs, items in ((1, 30), (2, 30), (5, 100)) for seed_sd in (0.0, 0.3, 1.0))


def fresh(number: int) -> tuple[World, ...]:
    """Worlds that nobody chose, of the shape of ours, a few of each law."""
    rng, laws = rng_for(0, "fresh worlds"), tuple(Law)
    draws = [rng.uniform((-5.0, 0.0, 1.0), (5.0, 1.0, 3.0)) for _ in range(number)]
    return tuple(World(*map(float, np.round(draw, 1)), law=laws[place % len(laws)]) for place, draw in enumerate(draws))


@dataclass(frozen=True)
class Rates:
    """Shares of experiments."""

    covered: float
    covered_plain: float
    differ: float
    """Two equal methods: the interval of the paired difference excludes 0."""
    better: float
    """Of these: it lies above 0, so that the first is called better."""
    differ_plain: float
    differ_permutation: float
    """p < 0.05 in the permutation test over items."""


def odds(logit: Array) -> Array:
    """Log-odds to chances."""
    return 1.0 / (1.0 + np.exp(-logit))


def plain_bootstrap(scores_RIK: Array, rng: np.random.Generator, draws: int) -> tuple[float, float]:
    """Percentiles of means over seeds, items and samples drawn with replacement. Samples: the noise they add, as a normal."""
    runs, items, samples = scores_RIK.shape
    seeds = rng.multinomial(runs, np.full(runs, 1 / runs), size=draws) / runs
    drawn = rng.multinomial(items, np.full(items, 1 / items), size=draws) / items
    means = np.einsum("dr,ri,di->d", seeds, scores_RIK.mean(axis=2), drawn)
    noise = np.einsum("dr,ri,di->d", seeds**2, scores_RIK.var(axis=2) / samples, drawn**2)
    low, high = np.quantile(means + np.sqrt(noise) * rng.standard_normal(draws), (0.025, 0.975))
    return float(low), float(high)


def measure(world: World, experiments: int, slow_every: int = EVERY) -> Rates:
    """Simulate one world; the slow comparisons look at every `slow_every`-th experiment."""
    rng, truth = rng_for(0, "coverage", world.name), world.truth
    quick: list[tuple[bool, ...]] = []
    slow: list[tuple[bool, ...]] = []
    for place in range(experiments):
        items_I = world.difficulties(rng)
        a, b = world.draw(rng, items_I), world.draw(rng, items_I)
        low, high = difference_interval(a.mean(axis=2), b.mean(axis=2))
        quick.append((_holds(mean_interval(a.mean(axis=2)), truth), not low <= 0.0 <= high, low > 0.0))
        if place % slow_every == 0:
            slow.append(_compared(a, b, truth, rng_for(0, "compared", world.name, place)))
    covered, differ, better = (float(share) for share in np.mean(quick, axis=0))
    covered_plain, differ_plain, differ_permutation = (float(share) for share in np.mean(slow, axis=0))
    return Rates(covered, covered_plain, differ, better, differ_plain, differ_permutation)


def _compared(a: Array, b: Array, truth: float, rng: np.random.Generator) -> tuple[bool, ...]:
    """What a plain bootstrap and a permutation test say of an experiment."""
    return (
        _holds(plain_bootstrap(a, rng, PLAIN_DRAWS), truth),
        not _holds(plain_bootstrap(a - b, rng, PLAIN_DRAWS), 0.0),
        permutation_p((a - b).mean(axis=(0, 2)), rng, 500) < 0.05,
    )


def iqm_coverage(runs: int, environments: int, experiments: int) -> float:
    """How often the interval of the IQM holds the mean of all IQMs that were found, in environments of different levels."""
    rng = rng_for(0, "iqm coverage", runs, environments)
    worlds = [World(level, 0.3, 2.0, runs) for level in np.linspace(-2.0, 2.0, environments)]
    cells = [[world.draw(rng, world.difficulties(rng)).mean(axis=2) for world in worlds] for _ in range(experiments)]
    centres = [iqm(np.stack([matrix.mean(axis=1) for matrix in each], axis=1)) for each in cells]
    truth = float(np.mean(centres))
    return float(np.mean([_holds(iqm_interval(each, rng, 300), truth) for each in cells]))


def _holds(interval: tuple[float, float], value: float) -> bool:
    return interval[0] <= value <= interval[1]


GROUPS = {
    "the shape 3 × 30 × 10, items that differ": OURS,
    "fresh worlds of that shape, drawn at random": fresh(16),
    "items that are all alike": CORNERS,
    "other shapes": LARGER,
}


def lines(experiments: int) -> Iterator[str]:
    """The Markdown table of docs/statistics.md, and what it comes to."""
    heads = ("runs × items × samples", "truth", "seed sd", "item sd", "covered", "plain bootstrap covers")
    of_two = ("equal: called different", "equal: called better", "plain bootstrap: different", "permutation: p < 0.05")
    yield f"| {' | '.join((*heads, *of_two))} |"
    yield f"| --- |{' ---: |' * 9}"
    said: list[str] = []
    for name, worlds in GROUPS.items():
        found: list[Rates] = []
        for world in worlds:
            rates = measure(world, experiments)
            found.append(rates)
            cells = (rates.covered, rates.covered_plain, rates.differ, rates.better, rates.differ_plain, rates.differ_permutation)
            yield f"| {world.name} | {' | '.join(f'{share:.1%}' for share in cells)} |"
        said.append(f"- {name}: {_summed_up(found)}")
    yield ""
    for runs, environments in ((3, 3), (3, 6), (5, 4)):
        covered = iqm_coverage(runs, environments, experiments // EVERY)
        yield f"IQM over {environments} environments, {runs} runs of each: covered {covered:.1%}  "
    yield ""
    yield from said


def _summed_up(found: list[Rates]) -> str:
    """How a group of worlds did."""
    covered, inside = [rates.covered for rates in found], sum(AIM[0] <= rates.covered <= AIM[1] for rates in found)
    range_ = f"covered {min(covered):.1%} to {max(covered):.1%}, {inside} of {len(found)} within {AIM[0]:.0%} to {AIM[1]:.0%}"
    worst = f"equal methods called better in at most {max(rates.better for rates in found):.1%}"
    return f"{range_}; {worst}, different in at most {max(rates.differ for rates in found):.1%}"


def main() -> None:
    """Parse the command line, simulate, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page whose table between its marks is made anew")
    options = parser.parse_args()
    printed = print_all(lines(options.experiments))
    if options.write:
        number = f"{options.experiments:,} experiments per row, {options.experiments // EVERY:,} for plain bootstrap and permutation test."
        write_between(options.write, MARKS, [number, "", *printed])


if __name__ == "__main__":
    main()
