"""The two consoles, stdout for results and stderr for progress and notes, and the two kinds of table they show."""

import os

from rich import box
from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 140
"""Columns assumed if the output is not a terminal, so that files and pipes get whole tables."""


def out_console() -> Console:
    """Open the console for results, on stdout."""
    return _console(stderr=False)


def err_console() -> Console:
    """Open the console for progress and notes, on stderr."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


def facts_grid() -> Table:
    """Columns without headings or lines: names of facts and what they are."""
    return Table.grid(padding=(0, 2))


def plain_table(*headings: str, gap: int = 1) -> Table:
    """Create a table with a line under its headings. Long cells are folded; `gap` is the space between columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0), border_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
