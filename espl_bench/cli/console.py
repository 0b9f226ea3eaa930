"""The two consoles: stdout for results, stderr for progress and notes."""

import os

from rich.console import Console

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
