"""The two consoles: stdout for results, stderr for progress and notes."""

import os

from rich.console import Console

PIPE_WIDTH = 140
"""Columns of a screen that is not a terminal, so that a file or pipe gets whole tables."""


def out_console() -> Console:
    """The console of results: stdout."""
    return _console(stderr=False)


def err_console() -> Console:
    """The console of progress and notes: stderr."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console
