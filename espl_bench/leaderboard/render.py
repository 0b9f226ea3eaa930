"""A computed table as a terminal screen, as Markdown and as JSON. What a cell says is decided here, what it holds in table.py."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from espl_bench.leaderboard.table import DRAWS, LEVEL, STATISTICS_SEED, Row, Table
from espl_bench.screen import DASH, count, plain, points

SCHEMA = "espl-bench/table/1"
WIDE = 136
"""Terminal columns from which scores and costs fit side by side."""
LEGEND = (
    "Scores are percentages of the test, means over seeds; 95 % CI: bootstrap over seeds and items. Δ: paired over the same "
    "seeds and items; P: share of bootstrap draws in which the method is ahead. ≈ marks a gap to the best method below the "
    "noise floor: the 95 % CI of the paired difference holds 0. Costs are means per run; evaluation is priced apart."
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading and how a row fills it."""

    heading: str
    """``{reference}`` stands for the table's reference; a line break is a space in Markdown."""
    cell: Callable[[Row], str]


def _score(row: Row) -> str:
    return f"{points(row.score)} {'≈' if row.below_noise else ' '}"


def _signed(row: Row) -> str:
    return f"{row.difference.mean * 100:+.1f}" if row.difference else DASH


def _signed_interval(row: Row) -> str:
    return f"{row.difference.low * 100:+.1f} … {row.difference.high * 100:+.1f}" if row.difference else DASH


def _chance(row: Row) -> str:
    return f"{row.difference.p_improvement:.2f}" if row.difference else DASH


def _unanswered(row: Row) -> str:
    return points(row.outcomes.get("no_answer", 0.0) + row.outcomes.get("truncated", 0.0))


METHOD = Column("method", lambda row: row.method)
SCORES = (
    Column("score  ", _score),
    Column("95 % CI", lambda row: f"{points(row.ci95[0])} … {points(row.ci95[1])}"),
    Column("Δ {reference}", _signed),
    Column("95 % CI", _signed_interval),
    Column("P", _chance),
    Column("valid.", lambda row: DASH if row.validation is None else points(row.validation)),
)
COSTS = (
    Column("seeds", lambda row: str(len(row.seeds))),
    Column("no\nanswer", _unanswered),
    Column("rollouts", lambda row: count(row.cost.rollouts)),
    Column("generated\ntokens", lambda row: count(row.cost.generated_tokens)),
    Column("reflect.\ntokens", lambda row: count(row.cost.reflection_tokens)),
    Column("eval.\ntokens", lambda row: count(row.cost.eval_tokens)),
    Column("wall\nmin", lambda row: f"{row.cost.wall_s / 60:.1f}"),
)


def caption(table: Table) -> str:
    """What all rows of a table have in common, in one line."""
    seeds = ", ".join(str(seed) for seed in table.seeds)
    return f"{table.env} · {table.model} · avg@{table.k} over {table.n_items:,} test items · {_plural(len(table.seeds), 'seed')} {seeds}"


def to_screen(tables: Sequence[Table], width: int, curves: bool = False) -> RenderableType:
    """All tables for a terminal of `width` columns; `curves` adds the score of every evaluation."""
    parts: list[RenderableType] = []
    for table in tables:
        parts.append(plain(caption(table), "bold"))
        blocks = ((METHOD, *SCORES, *COSTS),) if width >= WIDE else ((METHOD, *SCORES), (METHOD, *COSTS))
        grids = [_block(table, columns) for columns in blocks]
        if curves and table.curve:
            grids.append(_curve_block(table))
        for grid in grids:
            parts.extend((Text(), grid))
        parts.append(Text())
        parts.extend(plain(f"! {note}", "yellow") for note in table.notes)
        if table.notes:
            parts.append(Text())
    return Group(*parts, Text(LEGEND, style="dim"))


def _block(table: Table, columns: Sequence[Column]) -> RichTable:
    grid = _grid()
    for place, column in enumerate(columns):
        grid.add_column(plain(_heading(column, table)), justify="right" if place else "left", no_wrap=True, overflow="ellipsis")
    for row in table.rows:
        style = "bold" if row.method == table.best else ""
        grid.add_row(*(plain(column.cell(row), style) for column in columns))
    return grid


def _curve_block(table: Table) -> RichTable:
    grid = _grid()
    grid.add_column("split")
    grid.add_column("step", justify="right")
    methods = [row.method for row in table.rows]
    for method in methods:
        grid.add_column(plain(method), justify="right", overflow="fold")
    for point in table.curve:
        grid.add_row(point.split, str(point.step), *(_at(point.scores, method) for method in methods))
    return grid


def _grid() -> RichTable:
    return RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="", border_style="dim")


def to_markdown(tables: Sequence[Table], curves: bool = False) -> str:
    """All tables as GitHub Markdown."""
    return "\n".join([*(line for table in tables for line in _markdown_lines(table, curves)), LEGEND, ""])


def _markdown_lines(table: Table, curves: bool) -> Iterator[str]:
    yield f"**{_escaped(caption(table))}**"
    yield ""
    columns = (METHOD, *SCORES, *COSTS)
    yield _markdown_row([_heading(column, table).replace("\n", " ").strip() for column in columns])
    yield _markdown_row(["---", *["---:"] * (len(columns) - 1)])
    for row in table.rows:
        cells = [_escaped(column.cell(row).strip()) for column in columns]
        yield _markdown_row([f"**{cells[0]}**", f"**{cells[1]}**", *cells[2:]] if row.method == table.best else cells)
    yield ""
    if curves and table.curve:
        methods = [row.method for row in table.rows]
        yield _markdown_row(["split", "step", *map(_escaped, methods)])
        yield _markdown_row(["---", *["---:"] * (len(methods) + 1)])
        for point in table.curve:
            yield _markdown_row([point.split, str(point.step), *(_at(point.scores, method) for method in methods)])
        yield ""
    for note in table.notes:
        yield f"- {_escaped(note)}"
    if table.notes:
        yield ""


def to_json(tables: Sequence[Table]) -> str:
    """All tables as one JSON object; scores are shares in 0..1."""
    statistics = {"seed": STATISTICS_SEED, "draws": DRAWS, "level": LEVEL}
    payload = {"schema": SCHEMA, "statistics": statistics, "tables": [asdict(table) for table in tables]}
    return json.dumps(payload, indent=2, ensure_ascii=False) + "\n"


def _heading(column: Column, table: Table) -> str:
    return column.heading.format(reference=table.reference)


def _at(scores: dict[str, float], method: str) -> str:
    return points(scores[method]) if method in scores else DASH


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("\n", " ")


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"
