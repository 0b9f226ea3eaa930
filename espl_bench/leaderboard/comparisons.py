"""All comparisons of a table at once: which method is better, with p-values corrected for the number of comparisons.

A table with five methods has ten pairs. If each is judged at 5 % by itself, up to 37 % of the tables of five equal methods call some
method better than another (docs/statistics.md). So the p-values of all pairs are corrected together by Holm (1979), which bounds the
chance that any order is claimed wrongly, whichever methods are equal. Ranks, ``≈`` and "better" follow the corrected p-values; ranks are
then simultaneous (Mogstad, Romano, Shaikh and Wilhelm 2024). A pair needs two shared seeds: one training run says nothing of others.

Controls are no contenders. Their comparisons with the best method, and those with the base model, are corrected apart, each for the
number of controls, so that adding a control changes no rank.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from espl_bench.leaderboard.grouping import TestGroup
from espl_bench.stats import difference_p

ALPHA: Final = 0.04
"""Corrected p-value below which a difference is claimed. Scores that end at 0 and 1 are not normal: at 0.05 the worst simulated tables of
equal methods are wrong in 5.2 %, at 0.04 in 4.4 % (docs/statistics.md)."""
FEWEST_SEEDS: Final = 2
"""Shared seeds that a comparison needs."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PairResult:
    """Comparison of two methods."""

    gap: float
    """Mean paired difference, the first minus the second."""
    p: float
    """Two-sided."""


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Comparisons that are corrected together."""

    gaps: Mapping[Pair, float]
    """Mean paired difference, in both orders; a pair that could not be compared is missing."""
    corrected: Mapping[Pair, float]
    """Corrected p-value, in both orders."""

    def p(self, a: str, b: str) -> float | None:
        """Return the corrected p-value of a pair; None if it was not compared."""
        return self.corrected.get((a, b))

    def better(self, a: str, b: str) -> bool:
        """Check that a is better than b beyond the noise."""
        return (a, b) in self.gaps and self.gaps[a, b] > 0.0 and self.corrected[a, b] < ALPHA

    def differ(self, a: str, b: str) -> bool:
        """Check that either is better than the other."""
        return self.better(a, b) or self.better(b, a)

    def matrix(self, labels: Sequence[str]) -> NDArray[np.bool_]:
        """Return the matrix whose entry [a, b] says that a is better than b."""
        return np.asarray([[self.better(a, b) for b in labels] for a in labels], dtype=np.bool_).reshape(len(labels), len(labels))


def compare_all(pairs: Iterable[Pair], compare: Callable[[str, str], PairResult | None]) -> Comparisons:
    """Compare the pairs, and correct for those that can be compared; `compare` returns None for one that cannot."""
    results = {pair: result for pair in pairs if (result := compare(*pair))}
    corrected = dict(zip(results, holm([result.p for result in results.values()]), strict=True))
    return Comparisons(
        gaps={**{pair: result.gap for pair, result in results.items()}, **{(b, a): -result.gap for (a, b), result in results.items()}},
        corrected={**corrected, **{(b, a): p for (a, b), p in corrected.items()}},
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, so that the chance of any false rejection is bounded (Holm 1979, doi 10.2307/4615733)."""
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for smaller, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - smaller) * p_values[index]))
        corrected[index] = largest
    return corrected


def contender_comparisons(test: TestGroup) -> Comparisons:
    """Compare every pair of the methods that can be called best."""
    return compare_all(combinations(test.contenders, 2), lambda a, b: _compare(test, a, b))


def control_comparisons(test: TestGroup, other: str) -> Comparisons:
    """Compare every control with one other method; none if the test lacks it."""
    controls = [label for label in test.methods if label not in test.contenders and other in test.methods]
    return compare_all(((control, other) for control in controls), lambda a, b: _compare(test, a, b))


def _compare(test: TestGroup, a: str, b: str) -> PairResult | None:
    seeds = test.shared(a, b)
    if len(seeds) < FEWEST_SEEDS:
        return None
    ours, theirs = test.methods[a].on(seeds), test.methods[b].on(seeds)
    return PairResult(float((ours - theirs).mean()), difference_p(ours, theirs))
