"""Tables of a study for the page: plain numbers, scores matched by every budget, and curves."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from espl_bench.errors import RunDirError
from espl_bench.leaderboard.grouping import GroupEntry, MethodRuns, TestGroup, group
from espl_bench.leaderboard.layout import LEGEND
from espl_bench.leaderboard.learning_curves import CURVE_SPLITS, Axis, bands
from espl_bench.leaderboard.match import MatchAxis, match
from espl_bench.leaderboard.overview import overview
from espl_bench.leaderboard.table import Table, tabulate


def boards(entries: Sequence[GroupEntry]) -> dict[str, Any]:
    """Compute all tables of finished runs. Raises RunDirError if the runs cannot be compared."""
    tests = group(entries)
    tables = [tabulate(test, None) for test in tests]
    over = overview(tests, tables, None)
    return {
        "legend": LEGEND,
        "overview": asdict(over) if over else None,
        "tests": [_test(test, table) for test, table in zip(tests, tables, strict=True)],
    }


def _test(test: TestGroup, table: Table) -> dict[str, Any]:
    return {**asdict(table), "matched": _matched(test), "curves": _curves(test), "lines": _lines(test)}


def _matched(test: TestGroup) -> dict[str, Any]:
    """Map each budget to the scores at it, or to the reason why there are none."""
    by_budget: dict[str, Any] = {}
    for budget in MatchAxis:
        try:
            by_budget[budget.value] = asdict(match(test, budget, None))
        except RunDirError as error:
            by_budget[budget.value] = {"unknown": str(error)}
    return by_budget


def _lines(test: TestGroup) -> dict[str, Any]:
    """Map each split to the evaluations of every run: its method, seed, scores, and where they are on each axis."""
    return {split: [line for label, method in test.methods.items() for line in _lines_of(label, method, split)] for split in CURVE_SPLITS}


def _lines_of(label: str, method: MethodRuns, split: str) -> Iterator[dict[str, Any]]:
    for seed, run in method.runs.items():
        points = [point for point in run.curve if point.split == split]
        if run.steps and points:
            places = {axis.value: [axis.of(point) for point in points] for axis in Axis}
            yield {"method": label, "seed": seed, "score": [point.score for point in points], **places}


def _curves(test: TestGroup) -> dict[str, Any]:
    """Map each split and axis to its bands."""
    return {split: {axis.value: [asdict(band) for band in bands(test, axis, split)] for axis in Axis} for split in CURVE_SPLITS}
