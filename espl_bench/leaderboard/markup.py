"""Write sheets as Markdown, LaTeX and HTML. Names come from runs, so each format escapes its own special characters."""

import html
import re
from collections.abc import Callable, Iterator, Sequence

from espl_bench.leaderboard.layout import LEGEND, Sheet, TableLayout
from espl_bench.utils.terminal_text import clean

Mark = Callable[[str, bool], str]
"""Escape a cell, and make it bold if the flag is set."""

LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "≈": r"$\approx$",
    "…": r"\dots{}",
    "–": "--",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "→": r"$\rightarrow$",
    "†": r"$\dagger$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem}"
    "div{overflow-x:auto}table{border-collapse:collapse;margin:1rem 0}caption{text-align:left;font-weight:600;padding:.4rem 0}"
    "th,td{padding:.25rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid #8885}"
    "th:first-child,td:first-child{text-align:left}tbody th{font-weight:400}"
)


def to_markdown(sheets: Sequence[Sheet], legend: str = LEGEND) -> str:
    """Write GitHub Markdown."""
    return "\n".join([*(line for sheet in sheets for line in _markdown_lines(sheet)), legend, ""])


def _markdown_lines(sheet: Sheet) -> Iterator[str]:
    yield f"**{_markdown(sheet.caption, bold=False)}**"
    yield ""
    for grid in sheet.grids:
        heading, *rows = _written(grid, _markdown)
        for line in (heading, ["---", *["---:"] * (len(heading) - 1)], *rows):
            yield f"| {' | '.join(line)} |"
        yield ""
    for note in sheet.notes:
        yield f"- {_markdown(note, bold=False)}"
    if sheet.notes:
        yield ""


def _markdown(text: str, bold: bool) -> str:
    escaped = re.sub(r"([\\|*<`\[\]])", r"\\\1", clean(text).replace("\n", " ")).strip()
    return f"**{escaped}**" if bold else escaped


def to_latex(sheets: Sequence[Sheet], legend: str = LEGEND) -> str:
    """Write LaTeX for the package booktabs, with one table environment per grid."""
    lines = (line for sheet in sheets for line in _latex_lines(sheet, legend))
    return "\n".join(["% needs \\usepackage{booktabs}", *lines]) + "\n"


def _latex_lines(sheet: Sheet, legend: str) -> Iterator[str]:
    for grid in sheet.grids:
        heading, *rows = _written(grid, _latex)
        yield from (r"\begin{table}", r"\centering", rf"\caption{{{_latex(sheet.caption, bold=False)}}}")
        yield rf"\begin{{tabular}}{{l{'r' * (len(grid.headings) - 1)}}}"
        yield from (r"\toprule", rf"{' & '.join(heading)} \\", r"\midrule")
        yield from (rf"{' & '.join(row)} \\" for row in rows)
        yield from (r"\bottomrule", r"\end{tabular}", r"\end{table}")
    yield from (f"% {' '.join(clean(note).split())}" for note in (*sheet.notes, legend))


def _latex(text: str, bold: bool) -> str:
    escaped = "".join(LATEX_SIGNS.get(char, char) for char in clean(text).replace("\n", " ").strip())
    return rf"\textbf{{{escaped}}}" if bold else escaped


def to_html(sheets: Sequence[Sheet], legend: str = LEGEND) -> str:
    """Write one self-contained page that loads nothing and runs no script."""
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>espl-bench: table</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>"
    )
    lines = (line for sheet in sheets for line in _html_lines(sheet))
    return "\n".join([head, *lines, f"<p>{_html(legend, bold=False)}</p>", "</main>", "</body>", "</html>", ""])


def _html_lines(sheet: Sheet) -> Iterator[str]:
    for grid in sheet.grids:
        heading, *rows = _written(grid, _html)
        yield f'<div tabindex="0" role="region" aria-label="{_html(sheet.caption, bold=False)}"><table>'
        yield f"<caption>{_html(sheet.caption, bold=False)}</caption>"
        columns = "".join(f'<th scope="col">{cell}</th>' for cell in heading)
        yield f"<thead><tr>{columns}</tr></thead>\n<tbody>"
        for first, *rest in rows:
            cells = "".join(f"<td>{cell}</td>" for cell in rest)
            yield f'<tr><th scope="row">{first}</th>{cells}</tr>'
        yield "</tbody></table></div>"
    if sheet.notes:
        listed = "".join(f"<li>{_html(note, bold=False)}</li>" for note in sheet.notes)
        yield f"<ul>{listed}</ul>"


def _html(text: str, bold: bool) -> str:
    escaped = html.escape(clean(text).replace("\n", " ").strip())
    return f"<strong>{escaped}</strong>" if bold else escaped


def _written(grid: TableLayout, mark: Mark) -> list[list[str]]:
    """Escape the headings and each row, cell by cell."""
    rows = [[mark(cell, (row_index, column) in grid.bold) for column, cell in enumerate(row)] for row_index, row in enumerate(grid.rows)]
    return [[mark(heading, False) for heading in grid.headings], *rows]
