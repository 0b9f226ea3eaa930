"""Overview of several environments: methods by environments, the IQM over them, and which method is better overall.

The environments are taken as given, not as a sample: intervals cover other training runs and other items. Those without the
reference are left out, so that a small study in one more environment does not take the IQM of every method that it lacks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, compress

import numpy as np
from numpy.typing import NDArray

from espl_bench.leaderboard.comparisons import FEWEST_SEEDS, PairResult, compare_all
from espl_bench.leaderboard.control_notes import control_notes
from espl_bench.leaderboard.grouping import REFERENCE, TestGroup
from espl_bench.leaderboard.pairing import Aligned, align
from espl_bench.leaderboard.row_notes import lengths
from espl_bench.leaderboard.table import STATISTICS_SEED, Table
from espl_bench.seeding import rng_for
from espl_bench.stats import LEVEL, Interval, difference_interval, interval_p, iqm, iqm_interval, p_improvement, rank_ranges


@dataclass(frozen=True, slots=True)
class OverallRow:
    """Scores of one method on all environments, as shares in 0..1."""

    method: str
    scores_E: tuple[float | None, ...]
    """None for an environment that the method was not run on."""
    below_noise_E: tuple[bool, ...]
    """True if the gap to the environment's best is within the noise."""
    best_E: tuple[bool, ...]
    """True if the method is the environment's best, beyond the noise."""
    iqm: float | None
    """IQM over runs and environments; None for a method that lacks an environment or has no common seeds."""
    iqm95: Interval | None
    difference: Interval | None
    """Pointwise 95 % interval of the mean over environments of the paired difference to the reference; None without all pairs."""
    p_improvement: float | None
    """Probability that a run scores above a run of the reference on a random environment."""
    rank: tuple[int, int] | None
    """Rank among the methods that have every environment, from the comparisons of all their pairs."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Table of methods by environments."""

    environments: tuple[str, ...]
    reference: str
    rows: tuple[OverallRow, ...]
    """Highest IQM first, methods that lack an environment last."""
    notes: tuple[str, ...]


def overview(tests: Sequence[TestGroup], tables: Sequence[Table], wanted: str | None) -> Overview | None:
    """Compute the overview of two or more tests; None for fewer.

    Where two tests or more hold the wanted reference (`base` if none is), the others are left out and named in a note.
    """
    if len(tests) < 2:
        return None
    tests, tables, left_out = _with_reference(tests, tables, wanted or REFERENCE)
    aligned = align(tests, tables)
    reference = _reference(tests, aligned, wanted)
    tests, tables = aligned.tests, aligned.tables
    labels = sorted({label for test in tests for label in test.methods})
    whole = [label for label in labels if all(label in test.methods for test in tests)]
    ranked = [label for label in whole if all(label in test.contenders for test in tests)]
    ranks = dict(zip(ranked, rank_ranges(_better(tests, ranked)), strict=True)) if ranked else {}
    rows = [_row(label, tests, tables, reference, ranks.get(label)) for label in labels]
    missing = [label for label in labels if label not in whole]
    notes = tuple(note for test in tests for note in control_notes(test))
    note = (f"no IQM, difference or rank for methods that lack an environment: {', '.join(missing)}",) if missing else ()
    models = {test.model for test in tests}
    names = [f"{test.env} · {test.model}" if len(models) > 1 else test.env for test in tests]
    named = [name if names.count(name) == 1 else f"{name} avg@{test.k}/{test.n_items}" for name, test in zip(names, tests, strict=True)]
    ordered = sorted(rows, key=lambda row: (row.iqm is None, -(row.iqm or 0.0), row.method))
    return Overview(tuple(named), reference, tuple(ordered), (*notes, *aligned.notes, *note, *left_out, *lengths(tests)))


def _with_reference(
    tests: Sequence[TestGroup], tables: Sequence[Table], name: str
) -> tuple[Sequence[TestGroup], Sequence[Table], tuple[str, ...]]:
    """Keep the tests that hold a method, and name the others; all if fewer than two hold it."""
    held = [bool(test.named(name)) for test in tests]
    if all(held) or sum(held) < 2:
        return tests, tables, ()
    others = ", ".join(dict.fromkeys(test.env for test, holds in zip(tests, held, strict=True) if not holds))
    note = f"left out of this table, as {name} was not run there: {others}; --reference chooses another method"
    return list(compress(tests, held)), list(compress(tables, held)), (note,)


def _reference(tests: Sequence[TestGroup], aligned: Aligned, wanted: str | None) -> str:
    """Choose the line that differences are taken against: of the tests' references one that has every environment, else the first."""
    references = [
        labels[test.reference(wanted)]
        for test, labels in zip(tests, aligned.line_labels, strict=True)
        if wanted is None or test.named(wanted)
    ]
    return next((label for label in references if all(label in test.methods for test in aligned.tests)), references[0])


def _row(label: str, tests: Sequence[TestGroup], tables: Sequence[Table], reference: str, rank: tuple[int, int] | None) -> OverallRow:
    cells = [{row.method: row for row in table.rows}.get(label) for table in tables]
    common = _common(tests, label)
    here = [test.methods[label].on(seeds) for test, seeds in zip(tests, common, strict=True)] if common else []
    other = _common(tests, reference)
    there = [test.methods[reference].on(seeds) for test, seeds in zip(tests, other, strict=True)] if other else []
    compared = bool(here and there) and label != reference
    return OverallRow(
        method=label,
        scores_E=tuple(row.score if row else None for row in cells),
        below_noise_E=tuple(bool(row and row.below_noise) for row in cells),
        best_E=tuple(table.separated and table.best == label for table in tables),
        iqm=iqm(_run_scores(here)) if here else None,
        iqm95=iqm_interval(here, rng_for(STATISTICS_SEED, "iqm", label)) if here else None,
        difference=_difference(tests, label, reference) if compared else None,
        p_improvement=p_improvement(_run_scores(here), _run_scores(there)) if compared else None,
        rank=rank,
    )


def _common(tests: Sequence[TestGroup], label: str) -> list[tuple[int, ...]]:
    """Take the method's lowest seeds, equally many in every environment; empty if it lacks an environment."""
    if not all(label in test.methods for test in tests):
        return []
    number = min(len(test.methods[label].runs) for test in tests)
    return [tuple(test.methods[label].runs)[:number] for test in tests]


def _run_scores(matrices: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Average over items; shape (runs, environments)."""
    return np.stack([cells.mean(axis=1) for cells in matrices], axis=1)


def _difference(tests: Sequence[TestGroup], a: str, b: str, level: float = LEVEL) -> Interval | None:
    """Compute the interval of the mean difference. Environments are independent, so squared half widths add."""
    intervals: list[Interval] = []
    for test in tests:
        if not (seeds := test.shared(a, b)):
            return None
        intervals.append(difference_interval(test.methods[a].on(seeds), test.methods[b].on(seeds), level=level))
    centre = sum(low + high for low, high in intervals) / 2 / len(tests)
    half = math.sqrt(sum(((high - low) / 2) ** 2 for low, high in intervals)) / len(tests)
    return centre - half, centre + half


def _better(tests: Sequence[TestGroup], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Compute the matrix whose entry [a, b] is True if a is better than b in the mean over environments, corrected for all pairs."""
    return compare_all(combinations(labels, 2), lambda a, b: _compare(tests, a, b)).matrix(labels)


def _compare(tests: Sequence[TestGroup], a: str, b: str) -> PairResult | None:
    """Compare two methods by the intervals of :func:`_difference`; None unless they share two seeds in every environment."""
    if any(len(test.shared(a, b)) < FEWEST_SEEDS for test in tests):
        return None
    low, high = _difference(tests, a, b) or (-math.inf, math.inf)
    return PairResult((low + high) / 2, interval_p(lambda level: _difference(tests, a, b, level) or (-math.inf, math.inf)))
