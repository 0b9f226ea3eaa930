"""The two consoles, stdout for results and stderr for progress and notes, and the two kinds of table they show."""

import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, NoReturn, TextIO, cast

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from espl_bench.utils.terminal_text import clean, clean_json

PIPE_WIDTH = 140
"""Columns assumed if the output is not a terminal, so that files and pipes get whole tables."""


def out_console() -> Console:
    """Open the console for results, on stdout."""
    return _console(stderr=False)


def err_console() -> Console:
    """Open the console for progress and notes, on stderr."""
    return _console(stderr=True)


def end_at_once(reason: str, code: int) -> NoReturn:
    """End the process with one line on stderr, without waiting for what its threads are at."""
    err_console().print(f"espl-bench: {reason}", markup=False, highlight=False, soft_wrap=True)
    with suppress(OSError, ValueError):  # nobody reads the output any more
        sys.stdout.flush()
    os._exit(code)


class _Progress(io.TextIOBase):
    """Stderr that nobody has to read: a full disk, or a terminal that is gone, ends no run."""

    @property
    def _stream(self) -> TextIO:
        """The present stderr, without the proxy that a live display puts in front of it."""
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  (a property in the class that it stands for)
        return self._stream.encoding


class _CleanConsole(Console):
    """Draws no text that would act on the terminal: only rich's own control codes, for styles and live displays, reach it."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Clean each piece of text on its way out, whatever it is part of."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(clean(segment.text), segment.style)


def write(text: str, *, err: bool = False) -> None:
    """Write text as it is, without rich; the cleaner of all that commands print."""
    (sys.stderr if err else sys.stdout).write(clean(text))


def write_json(text: str) -> None:
    """Write JSON, in which control characters become escapes."""
    sys.stdout.write(clean_json(text))


def _console(stderr: bool) -> Console:
    console = _CleanConsole(file=cast(IO[str], _Progress()) if stderr else None, stderr=stderr, highlight=False, emoji=False)
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
