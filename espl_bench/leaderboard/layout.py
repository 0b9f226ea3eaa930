"""Layout of tables, whatever the format: headings and cells as text. markup.py writes them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from espl_bench.leaderboard.match import MatchAxis, Matched, MatchedRow
from espl_bench.leaderboard.measured import COLUMNS as MEASURES
from espl_bench.leaderboard.measured import Measured, cell_text
from espl_bench.leaderboard.overview import OverallRow, Overview
from espl_bench.leaderboard.table import Table, TableRow
from espl_bench.stats import Interval
from espl_bench.utils.formatting import DASH, count, duration, fixed, p_value, points, signed_points

LEGEND = (
    "Scores are percentages of the test, means over seeds. 95 % CI: over seeds and items, pointwise (for its row or pair alone). Δ: paired "
    "over the same seeds and items. Rank, ≈ and bold are corrected for all pairs of the table (Holm, p below 0.04). Rank: the ranks left "
    "open. ≈: the gap to the best is within the noise. Bold: better than all others. p Holm: of Δ, corrected likewise. All of these "
    "suppose that a method's runs scatter around one level. P: probability that a run scores above a run of the reference. p: paired "
    "permutation test over items, for these runs only. Costs are means per run; evaluation is counted separately."
)
BUDGETS = {
    MatchAxis.ROLLOUTS: "training rollouts",
    MatchAxis.GENERATED_TOKENS: "generated tokens, the editor's included",
    MatchAxis.TRAIN_TOKENS: "training tokens",
    MatchAxis.SECONDS: "of iterations, reflections included",
    MatchAxis.COST: "at the endpoints' list prices, reflections included",
}

AMOUNTS: dict[MatchAxis, Callable[[float], str]] = {MatchAxis.SECONDS: duration, MatchAxis.COST: lambda dollars: f"{dollars:.4g} USD"}
"""Formatters of amounts; the other axes are counts."""
MEASURES_AT_ONCE = 8
"""Columns of measures side by side."""


@dataclass(frozen=True, slots=True)
class TableLayout:
    """Table of text. The first column is left-aligned, the others right-aligned."""

    headings: tuple[str, ...]
    """A line break becomes a space in formats without lines in a cell."""
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]]
    """(row, column) of bold cells."""

    def columns(self, indices: Sequence[int]) -> "TableLayout":
        """Select some of the columns."""
        renumbered = {index: new for new, index in enumerate(indices)}
        return TableLayout(
            tuple(self.headings[index] for index in indices),
            tuple(tuple(row[index] for index in indices) for row in self.rows),
            frozenset((row, renumbered[index]) for row, index in self.bold if index in renumbered),
        )


@dataclass(frozen=True, slots=True)
class Sheet:
    """Table with its caption and notes."""

    caption: str
    grids: tuple[TableLayout, ...]
    notes: tuple[str, ...]
    parts: tuple[tuple[int, ...], ...] = ()
    """How the first grid's columns are split on a narrow screen; empty: not at all."""


@dataclass(frozen=True, slots=True)
class Column:
    """Column heading and the function that fills a cell from a row."""

    heading: str
    """``{reference}`` and ``{k}`` are replaced by the table's."""
    cell: Callable[[TableRow], str]


def signed_cell(share: float | None) -> str:
    """Format a difference in percentage points, with its sign."""
    return DASH if share is None else signed_points(share)


def interval_cell(interval: Interval | None) -> str:
    """Format both ends of an interval of shares."""
    return DASH if interval is None else f"{points(interval[0])} … {points(interval[1])}"


def signed_interval_cell(interval: Interval | None) -> str:
    """Format both ends of an interval of differences."""
    return DASH if interval is None else f"{signed_cell(interval[0])} … {signed_cell(interval[1])}"


def _unanswered(row: TableRow) -> str:
    return points(row.outcomes.get("no_answer", 0.0) + row.outcomes.get("truncated", 0.0))


def _ranks(rank: tuple[int, int] | None) -> str:
    if rank is None:
        return DASH
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"


def _marked(score: float, below_noise: bool) -> str:
    return f"{points(score)} {'≈' if below_noise else ' '}"


METHOD = Column("method", lambda row: row.method)
SCORES = (
    Column("score  ", lambda row: _marked(row.score, bool(row.below_noise))),
    Column("95 % CI", lambda row: interval_cell(row.ci95)),
    Column("Δ {reference}", lambda row: signed_cell(row.difference.mean if row.difference else None)),
    Column("95 % CI", lambda row: signed_interval_cell((row.difference.low, row.difference.high) if row.difference else None)),
    Column("rank", lambda row: _ranks(row.rank)),
    Column("valid.", lambda row: DASH if row.validation is None else points(row.validation)),
)
EVIDENCE = (
    Column("P", lambda row: fixed(row.difference.p_improvement, 2) if row.difference else DASH),
    Column("p", lambda row: p_value(row.difference.p_permutation) if row.difference else DASH),
    Column("p\nHolm", lambda row: DASH if row.p_corrected is None else p_value(row.p_corrected)),
    Column("pass@{k}", lambda row: points(max(row.pass_at.items())[1])),
    Column("seeds", lambda row: str(len(row.seeds))),
    Column("no\nanswer", _unanswered),
)
COSTS = (
    Column("rollouts", lambda row: count(row.cost.rollouts)),
    Column("generated\ntokens", lambda row: count(row.cost.generated_tokens)),
    Column("reflect.\ntokens", lambda row: count(row.cost.reflection_tokens)),
    Column("eval.\ntokens", lambda row: count(row.cost.eval_tokens)),
    Column("wall\nmin", lambda row: fixed(row.cost.wall_s / 60)),
)
COLUMNS = (METHOD, *SCORES, *EVIDENCE, *COSTS)
PARTS = tuple((0, *(index for index, column in enumerate(COLUMNS) if column in part)) for part in (SCORES, EVIDENCE, COSTS))


def caption(table: Table) -> str:
    """Name what all rows of a table have in common, in one line."""
    seeds = ", ".join(str(seed) for seed in table.seeds)
    noun = "seed" if len(table.seeds) == 1 else "seeds"
    return f"{table.env} · {table.model} · avg@{table.k} over {table.n_items:,} test items · {noun} {seeds}"


def table_sheet(table: Table, curves: bool, measured: Measured | None = None) -> Sheet:
    """Lay out one test, with the measures of its rows; `curves` adds the score of every evaluation."""
    headings = tuple(column.heading.format(reference=table.reference, k=table.k) for column in COLUMNS)
    rows = tuple(tuple(column.cell(row) for column in COLUMNS) for row in table.rows)
    best = next(index for index, row in enumerate(table.rows) if row.method == table.best)
    bold = frozenset({(best, 0), (best, 1)} if table.separated else set[tuple[int, int]]())
    grids = [TableLayout(headings, rows, bold)]
    if any(row.parts for row in table.rows):
        grids.append(_parts(table))
    if measured is not None:
        grids.extend(_measures(measured))
    if curves and table.curve:
        grids.append(_curves(table))
    return Sheet(caption(table), tuple(grids), table.notes, PARTS)


def _parts(table: Table) -> TableLayout:
    """Lay out the score of each part, and their mean, in which each part has the same weight."""
    names = list(dict.fromkeys(name for row in table.rows for name in row.parts))
    rows = (
        (
            row.method,
            DASH if row.mean_of_parts is None else points(row.mean_of_parts),
            *(cell for name in names for cell in _part_cells(row, name)),
        )
        for row in table.rows
    )
    return TableLayout(("method", "mean of\nparts", *(cell for name in names for cell in (name, "95 % CI"))), tuple(rows), frozenset())


def _measures(measured: Measured) -> Iterator[TableLayout]:
    """Lay out the measures, some columns at a time."""
    for start in range(0, len(measured.columns), MEASURES_AT_ONCE):
        names = measured.columns[start : start + MEASURES_AT_ONCE]
        headings = ("method", "runs", *(MEASURES[name].heading for name in names))
        rows = ((row.method, str(row.runs), *(cell_text(name, row.cells[name], row.runs) for name in names)) for row in measured.rows)
        yield TableLayout(headings, tuple(rows), frozenset())


def _part_cells(row: TableRow, name: str) -> tuple[str, str]:
    part = row.parts.get(name)
    return (DASH, DASH) if part is None else (points(part.score), interval_cell(part.ci95))


def _curves(table: Table) -> TableLayout:
    methods = tuple(row.method for row in table.rows)
    rows = (
        (point.split, str(point.step), *(points(point.scores[method]) if method in point.scores else DASH for method in methods))
        for point in table.curve
    )
    return TableLayout(("split", "step", *methods), tuple(rows), frozenset())


def overview_sheet(overview: Overview) -> Sheet:
    """Lay out methods by environments."""
    reference = overview.reference
    headings = ("method", *overview.environments, "IQM", "95 % CI", f"Δ {reference}, 95 % CI", "P", "rank")
    rows = tuple(_overall(row) for row in overview.rows)
    bold = frozenset((index, 1 + env) for index, row in enumerate(overview.rows) for env, best in enumerate(row.best_E) if best)
    title = f"{len(overview.environments)} environments · IQM over runs and environments, mean paired difference to {reference}"
    return Sheet(title, (TableLayout(headings, rows, bold),), overview.notes)


def _overall(row: OverallRow) -> tuple[str, ...]:
    scores = (DASH if score is None else _marked(score, noise) for score, noise in zip(row.scores_E, row.below_noise_E, strict=True))
    return (
        row.method,
        *scores,
        DASH if row.iqm is None else points(row.iqm),
        interval_cell(row.iqm95),
        signed_interval_cell(row.difference),
        DASH if row.p_improvement is None else fixed(row.p_improvement, 2),
        _ranks(row.rank),
    )


def matched_sheet(matched: Matched) -> Sheet:
    """Lay out methods at one budget."""
    amount = AMOUNTS.get(matched.budget, count)(matched.amount)
    title = f"{matched.env} · {matched.model} · {matched.split} score at {amount} {BUDGETS[matched.budget]}"
    headings = ("method", "score", "95 % CI", f"Δ {matched.reference}", "95 % CI", "seeds")
    note = "interpolated linearly between evaluations; intervals are pointwise, over seeds, and do not cover other items"
    missing = tuple(f"left out, without {matched.split} scores from training: run {run}" for run in matched.left_out)
    return Sheet(title, (TableLayout(headings, tuple(map(_matched, matched.rows)), frozenset()),), (note, *missing))


def _matched(row: MatchedRow) -> tuple[str, ...]:
    difference = (signed_cell(row.difference), signed_interval_cell(row.difference95))
    return (row.method, points(row.score), interval_cell(row.ci95), *difference, str(len(row.seeds)))
