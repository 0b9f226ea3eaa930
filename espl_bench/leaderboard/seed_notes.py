"""Notes on what the seeds of a row do not support: too few to have seen every kind of run, or runs of two kinds.

Intervals, ranks and corrected p-values suppose that the runs of a method scatter around one level. Runs that collapse or take off break
that, and a few seeds cannot show it: R runs miss an outcome of a share s of all runs with the chance (1 - s) ** R. docs/statistics.md
has the rates of errors and of these notes in simulated studies.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from espl_bench.leaderboard.grouping import MethodRuns, TestGroup
from espl_bench.stats import bootstrap_variances
from espl_bench.utils.formatting import points

RARE: Final = 0.25
"""Share of a kind of run that the note on few seeds speaks of."""
ENOUGH: Final = 11
"""Fewest seeds that miss a kind of that share in less than 5 % of studies."""
FEWEST: Final = 3
"""Fewest seeds in which two kinds can be told from a spread."""
CLEAR: Final = {3: 8.0, 4: 6.0, 5: 5.0}
"""Gap between two kinds of runs that is noted, in standard deviations within a kind, by the number of seeds."""
CLEAR_OF_MANY: Final = 4.0
"""The same for more seeds."""
SMALLEST: Final = 0.05
"""Smallest gap that is noted."""


@dataclass(frozen=True, slots=True)
class SeedGap:
    """Widest gap between the neighbouring scores of a method's runs."""

    low: tuple[int, ...]
    """Rows of the runs below it, lowest score first."""
    high: tuple[int, ...]
    """Rows of the runs above it, lowest score first."""
    gap: float
    """Between the highest run below and the lowest above."""
    spread: float
    """Standard deviation of runs within a kind: between runs on the same side, or the noise of a run's mean if that is larger."""

    @property
    def ratio(self) -> float:
        """Gap in standard deviations."""
        return self.gap / self.spread if self.spread > 0.0 else math.inf if self.gap > 0.0 else 0.0

    @property
    def clear(self) -> bool:
        """Check that the runs look like two kinds."""
        return self.gap >= SMALLEST and self.ratio >= CLEAR.get(len(self.low) + len(self.high), CLEAR_OF_MANY)


def widest_gap(cells_RI: NDArray[np.float64]) -> SeedGap | None:
    """Split a method's runs at the widest gap between their scores; None for fewer than `FEWEST` runs or two items.

    The noise of a run's mean comes from the items and samples that its runs do not have in common.
    """
    runs, items = cells_RI.shape
    if runs < FEWEST or items < 2:
        return None
    means = cells_RI.mean(axis=1)
    order = np.argsort(means, kind="stable")
    ordered = means[order]
    cut = int(np.argmax(np.diff(ordered))) + 1
    within = sum(float(((side - side.mean()) ** 2).sum()) for side in (ordered[:cut], ordered[cut:])) / (runs - 2)
    *_, rest = bootstrap_variances(cells_RI)
    low, high = (tuple(int(row) for row in side) for side in (order[:cut], order[cut:]))
    return SeedGap(low, high, float(ordered[cut] - ordered[cut - 1]), math.sqrt(max(within, rest * runs)))


def seed_notes(test: TestGroup) -> Iterator[str]:
    """Write one line on few seeds, and one per method whose runs look like two kinds."""
    trained = [len(method.runs) for method in test.methods.values() if any(run.steps for run in method.runs.values())]
    if trained and 2 <= (fewest := min(trained)) < ENOUGH:
        missed = (1 - RARE) ** fewest * 100
        yield (
            f"{fewest} seeds: a kind of run that is one in four (a collapse, a late take-off) is not among them with a chance of "
            f"{missed:.0f} %; intervals and comparisons suppose that there is none"
        )
    for label, method in test.methods.items():
        gap = widest_gap(method.cells_RI)
        if gap is not None and gap.clear:
            sides = " and ".join(_side(method, rows) for rows in (gap.low, gap.high))
            yield f"{label}: its runs look like two kinds, {sides}; its mean and its comparisons depend on how many seeds met which"


def _side(method: MethodRuns, rows: Sequence[int]) -> str:
    """Name the scores and the seeds of one kind of run; rows are in order of the scores."""
    scores = [points(float(method.cells_RI[row].mean())) for row in (rows[0], rows[-1])]
    seeds = sorted(tuple(method.runs)[row] for row in rows)
    noun = "seed" if len(seeds) == 1 else "seeds"
    return f"{' to '.join(dict.fromkeys(scores))} % ({noun} {', '.join(map(str, seeds))})"
