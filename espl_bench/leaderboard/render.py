"""Render a board for a terminal, in the formats of markup.py, and as plain numbers: JSON and CSV."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from espl_bench.leaderboard import markup
from espl_bench.leaderboard.board import Board
from espl_bench.leaderboard.csv_text import csv_cells
from espl_bench.leaderboard.layout import LEGEND, Sheet, TableLayout
from espl_bench.leaderboard.measured import LEGEND as MEASURES_LEGEND
from espl_bench.leaderboard.table import DRAWS, STATISTICS_SEED
from espl_bench.stats import LEVEL
from espl_bench.utils.formatting import plain

SCHEMA = "espl-bench/table/2"
WIDE = 172
"""Terminal width from which scores and costs fit side by side."""


class Format(StrEnum):
    """Output format of a table."""

    SCREEN = "screen"
    MARKDOWN = "markdown"
    LATEX = "latex"
    HTML = "html"
    CSV = "csv"
    JSON = "json"


def to_screen(board: Board, width: int, curves: bool = False) -> RenderableType:
    """Render for a terminal of `width` columns; `curves` adds the score of every evaluation."""
    return sheets_to_screen(board.sheets(curves), width, legend_of(board))


def legend_of(board: Board) -> str:
    """Return the legend, with that of measures if the board has any."""
    return f"{LEGEND} {MEASURES_LEGEND}" if board.measured else LEGEND


def sheets_to_screen(sheets: Sequence[Sheet], width: int, legend: str) -> RenderableType:
    """Render sheets with their legend."""
    parts: list[RenderableType] = []
    for sheet in sheets:
        parts.append(plain(sheet.caption, "bold"))
        for grid in _fitting(sheet, width):
            parts.extend((Text(), _drawn(grid)))
        parts.append(Text())
        parts.extend(plain(f"! {note}", "yellow") for note in sheet.notes)
        if sheet.notes:
            parts.append(Text())
    return Group(*parts, Text(legend, style="dim"))


def _fitting(sheet: Sheet, width: int) -> list[TableLayout]:
    if not sheet.grids:
        return []
    first, *others = sheet.grids
    parts = [first.columns(part) for part in sheet.parts] if sheet.parts and width < WIDE else [first]
    return [*parts, *others]


def _drawn(grid: TableLayout) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="", border_style="dim")
    for index, heading in enumerate(grid.headings):
        drawn.add_column(plain(heading), justify="right" if index else "left", no_wrap=True, overflow="ellipsis")
    for row_index, row in enumerate(grid.rows):
        drawn.add_row(*(plain(cell, "bold" if (row_index, column) in grid.bold else "") for column, cell in enumerate(row)))
    return drawn


def to_markdown(board: Board, curves: bool = False) -> str:
    """Write GitHub Markdown."""
    return markup.to_markdown(board.sheets(curves), legend_of(board))


def to_json(board: Board) -> str:
    """Write one JSON object; scores are shares in 0..1."""
    statistics = {"seed": STATISTICS_SEED, "draws": DRAWS, "level": LEVEL}
    return json.dumps({"schema": SCHEMA, "statistics": statistics, **asdict(board)}, indent=2, ensure_ascii=False) + "\n"


CSV_HEAD = (
    *("env", "model", "k", "n_items", "method", "seeds", "score", "ci_low", "ci_high", "pass_at_k", "rank_best", "rank_worst"),
    *("reference", "difference", "difference_low", "difference_high", "p_improvement", "p_permutation", "below_noise", "validation"),
    *("rollouts", "generated_tokens", "reflection_tokens", "eval_tokens", "wall_s"),
    *("matched_by", "matched_amount", "matched_score", "matched_low", "matched_high", "p_corrected"),
)


def to_csv(board: Board) -> str:
    """Write one line per test and method; numbers are not rounded, missing ones are empty. Parts and measures, if any, come last."""
    parts = list(dict.fromkeys(name for table in board.tables for row in table.rows for name in row.parts))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = board.measured[0].columns if board.measured else ()
    writer.writerow(csv_cells((*CSV_HEAD, *(["mean_of_parts"] if parts else []), *parts, *columns)))
    writer.writerows(map(csv_cells, _csv_rows(board, parts)))
    return text.getvalue()


def _csv_rows(board: Board, parts: Sequence[str]) -> Iterator[Sequence[object]]:
    for index, table in enumerate(board.tables):
        matched = board.matched[index] if board.matched else None
        measured = {row.method: row.cells for row in board.measured[index].rows} if board.measured else {}
        at_budget = {row.method: row for row in matched.rows} if matched else {}
        for row in table.rows:
            gap, cost = row.difference, row.cost
            equal = at_budget.get(row.method)
            yield (
                *(table.env, table.model, table.k, table.n_items, row.method, len(row.seeds), row.score, *row.ci95),
                *(max(row.pass_at.items())[1], *(row.rank or (None, None)), table.reference),
                *((gap.mean, gap.low, gap.high, gap.p_improvement, gap.p_permutation) if gap else (None,) * 5),
                *(row.below_noise, row.validation),
                *(cost.rollouts, cost.generated_tokens, cost.reflection_tokens, cost.eval_tokens, cost.wall_s),
                *((matched.budget.value, matched.amount, equal.score, *(equal.ci95 or (None, None))) if matched and equal else (None,) * 5),
                row.p_corrected,
                *([row.mean_of_parts] if parts else []),
                *(row.parts[name].score if name in row.parts else None for name in parts),
                *(cell and cell.mean for cell in measured.get(row.method, {}).values()),
            )


def to_text(board: Board, wanted: Format, curves: bool) -> str:
    """Write the board in any format except the screen's. Raises ValueError for that one."""
    writers: dict[Format, Callable[[], str]] = {
        Format.MARKDOWN: lambda: to_markdown(board, curves),
        Format.LATEX: lambda: markup.to_latex(board.sheets(curves), legend_of(board)),
        Format.HTML: lambda: markup.to_html(board.sheets(curves), legend_of(board)),
        Format.CSV: lambda: to_csv(board),
        Format.JSON: lambda: to_json(board),
    }
    if wanted not in writers:
        raise ValueError(f"{wanted} is not a text format")
    return writers[wanted]()
