"""Lay out compared scores as sheets, which every format of our tables writes; and write them as plain numbers, JSON and CSV."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from espl_bench.leaderboard.csv_text import csv_cells
from espl_bench.leaderboard.layout import Sheet, TableLayout
from espl_bench.leaderboard.table import DRAWS, STATISTICS_SEED
from espl_bench.scores.compare import ScoredRow, ScoredTable
from espl_bench.scores.design import ScoreDesign, ScorePlan
from espl_bench.stats import LEVEL, Interval
from espl_bench.utils.formatting import DASH, p_value, points, signed_points

SCHEMA = "espl-bench/scores/1"
LEGEND = (
    "95 % CI: over runs and items, or over items alone where each method has one run; pointwise (for its row or pair alone). Δ: "
    "paired over the same runs and items. Rank, ≈ and bold are corrected for all pairs of the table (Holm, p below 0.04). Rank: the "
    "ranks left open. ≈: the gap to the best is within the noise. Bold: better than all others. p Holm: of Δ, corrected likewise. p: "
    "paired permutation test over items, for these runs only. Separates: the smallest Δ that these scores tell from 0 in four of five "
    "studies, for this pair alone."
)
SHOWN = 8
"""Designs that a sheet shows; JSON has all."""


@dataclass(frozen=True, slots=True)
class Unit:
    """How scores are written: shares as percentages, other numbers as they are."""

    plain: Callable[[float], str]
    signed: Callable[[float], str]

    def interval(self, ends: Interval | None) -> str:
        """Write both ends."""
        return DASH if ends is None else f"{self.plain(ends[0])} … {self.plain(ends[1])}"

    def signed_interval(self, ends: Interval | None) -> str:
        """Write both ends with their signs."""
        return DASH if ends is None else f"{self.signed(ends[0])} … {self.signed(ends[1])}"


PERCENT = Unit(points, signed_points)
RAW = Unit(lambda number: f"{number:.4g}", lambda number: f"{number:+.4g}")


def unit_of(in_shares: bool) -> Unit:
    """Return the unit of a table."""
    return PERCENT if in_shares else RAW


def table_sheet(table: ScoredTable) -> Sheet:
    """Lay out one test."""
    unit = unit_of(table.in_shares)
    head = ("method", "score  ", "95 % CI", f"Δ {table.reference}", "95 % CI", "rank", "p", "p\nHolm", "separates", "runs")
    several = table.samples > 1 and all(row.pass_at_k is not None for row in table.rows)
    failed = any(row.failed for row in table.rows)
    headings = (*head, *((f"pass@{table.samples}",) if several else ()), *(("failed",) if failed else ()))
    rows = tuple(tuple(_cells(row, unit, several, failed)) for row in table.rows)
    best = next(index for index, row in enumerate(table.rows) if row.method == table.best)
    bold = frozenset({(best, 0), (best, 1)} if table.separated else set[tuple[int, int]]())
    what = "in percent" if table.in_shares else "in the unit of the files"
    title = f"{table.test or 'scores'} · avg@{table.samples} over {table.items:,} items · {what}"
    return Sheet(title, (TableLayout(headings, rows, bold),), table.notes)


def _cells(row: ScoredRow, unit: Unit, several: bool, failed: bool) -> Iterator[str]:
    gap = row.difference
    yield row.method
    yield f"{unit.plain(row.score)} {'≈' if row.below_noise else ' '}"
    yield unit.interval(row.ci95)
    yield DASH if gap is None else unit.signed(gap.mean)
    yield unit.signed_interval(None if gap is None else (gap.low, gap.high))
    yield DASH if row.rank is None else str(row.rank[0]) if row.rank[0] == row.rank[1] else f"{row.rank[0]}–{row.rank[1]}"
    yield DASH if gap is None else p_value(gap.p_permutation)
    yield DASH if row.p_corrected is None else p_value(row.p_corrected)
    yield DASH if row.separates is None else unit.plain(row.separates)
    yield str(len(row.runs))
    if several and row.pass_at_k is not None:
        yield points(row.pass_at_k)
    if failed:
        yield str(row.failed)


def plan_sheet(plan: ScorePlan, in_shares: bool) -> Sheet:
    """Lay out the smallest designs."""
    unit = unit_of(in_shares)
    title = f"{plan.test or 'scores'} · {plan.a} against {plan.b}: to separate {unit.plain(plan.gap)}"
    grid = TableLayout(("runs", "items", "samples", "separates"), tuple(_design(each, unit) for each in plan.designs[:SHOWN]), frozenset())
    notes = [f"now: a difference of {unit.signed(plan.measured)}, and enough to separate {unit.plain(plan.separates_now)}"]
    if not plan.designs:
        notes.append("no design that was considered separates it")
    return Sheet(title, (grid,) if plan.designs else (), tuple(notes))


def _design(design: ScoreDesign, unit: Unit) -> tuple[str, ...]:
    return str(design.runs), f"{design.items:,}", str(design.samples), unit.plain(design.separates)


def to_json(tables: Sequence[ScoredTable], plans: Sequence[ScorePlan]) -> str:
    """Write one JSON object; scores are in the units of the files."""
    statistics = {"seed": STATISTICS_SEED, "draws": DRAWS, "level": LEVEL}
    content = {"tables": [asdict(table) for table in tables], "plans": [asdict(plan) for plan in plans]}
    return json.dumps({"schema": SCHEMA, "statistics": statistics, **content}, indent=2, ensure_ascii=False) + "\n"


CSV_HEAD = (
    *("test", "items", "samples", "method", "runs", "score", "ci_low", "ci_high", "rank_best", "rank_worst", "reference", "difference"),
    *(
        "difference_low",
        "difference_high",
        "p_improvement",
        "p_permutation",
        "p_corrected",
        "below_noise",
        "separates",
        "pass_at_k",
        "failed",
    ),
)


def to_csv(tables: Sequence[ScoredTable]) -> str:
    """Write one line per test and method; numbers are not rounded, missing ones are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for table in tables:
        for row in table.rows:
            gap = row.difference
            line = (
                *(table.test, table.items, table.samples, row.method, len(row.runs), row.score, *row.ci95, *(row.rank or (None, None))),
                *(table.reference, *((gap.mean, gap.low, gap.high, gap.p_improvement, gap.p_permutation) if gap else (None,) * 5)),
                *(row.p_corrected, row.below_noise, row.separates, row.pass_at_k, row.failed),
            )
            writer.writerow(csv_cells(line))
    return text.getvalue()
