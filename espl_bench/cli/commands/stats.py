"""`stats`: compare scores from tables and logs of other tools."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espl_bench.cli.commands.plan import parse_gap
from espl_bench.cli.commands.table import print_sheets
from espl_bench.errors import UsageError
from espl_bench.leaderboard.render import Format
from espl_bench.scores.arrange import ScoredTest, arrange
from espl_bench.scores.compare import ScoredTable, tabulate_scores
from espl_bench.scores.design import ScorePlan, plan_scores
from espl_bench.scores.layout import LEGEND, plan_sheet, table_sheet, to_csv, to_json
from espl_bench.scores.read import parse_sources, read_scores
from espl_bench.scores.score import Selection


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is printed."""

    format: Format
    against: str | None
    detect: str | None
    """Gap as typed; None: no plan."""
    shared_items: bool


def print_stats(files: Sequence[str], metrics: Sequence[str], columns: Sequence[str], wanted: Wanted) -> None:
    """Read, compare and print. Raises UsageError or DataError."""
    read = read_scores(parse_sources(files), Selection(tuple(metrics), _parse_columns(columns)))
    tests = arrange(read, wanted.shared_items)
    tables = [tabulate_scores(test, _reference(test, tests, wanted.against)) for test in tests]
    plans = [_plan(test, table, wanted.detect) for test, table in zip(tests, tables, strict=True) if wanted.detect is not None]
    found = [plan for plan in plans if plan is not None]
    sheets = [table_sheet(table) for table in tables]
    sheets += [plan_sheet(plan, table.in_shares) for plan, table in zip(plans, tables, strict=False) if plan is not None]
    print_sheets(wanted.format, sheets, LEGEND, lambda: to_csv(tables), lambda: to_json(tables, found))


def _reference(test: ScoredTest, tests: Sequence[ScoredTest], against: str | None) -> str | None:
    """Return the wanted reference where a test has it. Raises UsageError by the test's own message if no test has it."""
    return against if against in test.methods or not any(against in each.methods for each in tests) else None


def _parse_columns(columns: Sequence[str]) -> Mapping[str, str]:
    parsed: dict[str, str] = {}
    for column in columns:
        role, equals, name = column.partition("=")
        if not equals or not name:
            raise UsageError(f"--column takes ROLE=NAME, e.g. score=exact_match, not '{column}'")
        parsed[role] = name
    return parsed


def _plan(test: ScoredTest, table: ScoredTable, detect: str | None) -> ScorePlan | None:
    """Plan for the best method and the reference, or the second best if the best is the reference."""
    if detect is None or len(table.rows) < 2:
        return None
    other = table.reference if table.best != table.reference else table.rows[1].method
    return plan_scores(test, table.best, other, parse_gap(detect) if table.in_shares else _number(detect))


def _number(text: str) -> float:
    try:
        gap = float(text)
    except ValueError as error:
        raise UsageError(f"--detect takes a number here, since the scores are no shares, not '{text}'") from error
    if not 0 < gap < float("inf"):
        raise UsageError(f"--detect must be above 0, not '{text}'")
    return gap
