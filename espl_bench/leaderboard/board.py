"""Everything that `table` computes: a table per test, an overview of several tests, and scores at equal budget."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from espl_bench.leaderboard.grouping import GroupEntry, group
from espl_bench.leaderboard.layout import Sheet, matched_sheet, overview_sheet, table_sheet
from espl_bench.leaderboard.match import MatchAxis, Matched, match
from espl_bench.leaderboard.measured import Measured, gather_measures
from espl_bench.leaderboard.overview import Overview, overview
from espl_bench.leaderboard.table import Table, tabulate
from espl_bench.runs.measures_file import Measures

NOT_MEASURED: Final[Mapping[str, Measures]] = {}


@dataclass(frozen=True, slots=True)
class Board:
    """Tables computed from a set of runs."""

    tables: tuple[Table, ...]
    """One per test, in order of environment and model."""
    overview: Overview | None
    """None for a single test."""
    matched: tuple[Matched, ...]
    """One per test if a budget was named, else none."""
    measured: tuple[Measured, ...] = ()
    """One per test if measures were asked for, else none."""

    def sheets(self, curves: bool = False) -> list[Sheet]:
        """Lay out the overview first, then each test with its measures; `curves` adds the score of every evaluation."""
        first = [overview_sheet(self.overview)] if self.overview else []
        of_tests = zip_longest(self.tables, self.measured)
        return [*first, *(table_sheet(table, curves, measured) for table, measured in of_tests), *map(matched_sheet, self.matched)]


def build_board(
    entries: Iterable[GroupEntry],
    reference: str | None = None,
    budget: MatchAxis | None = None,
    columns: Sequence[str] = (),
    measures: Mapping[str, Measures] = NOT_MEASURED,
) -> Board:
    """Compute all tables.

    Args:
        entries: the runs, in any order.
        reference: method that differences are taken against; None: base, or the first by name if there is no base.
        budget: also match scores by this; None: do not match.
        columns: measures to show beside each table.
        measures: those of the runs, by run id.

    Raises UsageError or RunDirError as `group` and `match` do.
    """
    tests = group(entries, reference)
    tables = tuple(tabulate(test, reference) for test in tests)
    matched = tuple(match(test, budget, reference) for test in tests) if budget else ()
    measured = tuple(gather_measures(test, measures, columns) for test in tests) if columns else ()
    return Board(tables, overview(tests, tables, reference), matched, measured)
