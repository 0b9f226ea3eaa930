"""`table`: finished runs side by side."""

import sys
from collections.abc import Sequence
from pathlib import Path

from espl_bench.errors import RunDirError, UsageError
from espl_bench.leaderboard.collect import Found, collect
from espl_bench.leaderboard.render import to_json, to_markdown, to_screen
from espl_bench.leaderboard.table import build_tables
from espl_bench.screen import err_console, out_console, plain


def print_table(paths: Sequence[Path], against: str | None, as_json: bool, markdown: bool, curves: bool) -> None:
    """Find, compute, print. Raises UsageError or RunDirError."""
    if as_json and markdown:
        raise UsageError("--json and --markdown are two forms of one table; choose one")
    found = collect(paths)
    _tell_unfinished(found)
    if not found.entries:
        raise RunDirError(f"no finished run; go on with: espl-bench resume {found.unfinished[0]}")
    tables = build_tables(found.entries, against)
    if as_json:
        sys.stdout.write(to_json(tables))
    elif markdown:
        sys.stdout.write(to_markdown(tables, curves))
    else:
        console = out_console()
        console.print(to_screen(tables, console.width, curves))


def _tell_unfinished(found: Found) -> None:
    """Runs that are in no row are named, on stderr, so that nobody takes the table for complete."""
    console = err_console()
    for folder in found.unfinished:
        console.print(plain(f"! not finished, so not in the table: {folder}", "yellow"), soft_wrap=True)
