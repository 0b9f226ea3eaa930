"""Print the lines of a benchmark as they come, and write them between two marks of a page."""

from collections.abc import Iterable
from pathlib import Path

Marks = tuple[str, str]
"""Comments in the page before and after the lines."""


def print_all(lines: Iterable[str]) -> list[str]:
    """Print each line at once; return them all."""
    printed: list[str] = []
    for line in lines:
        print(line, flush=True)
        printed.append(line)
    return printed


def write_between(page: Path, marks: Marks, lines: Iterable[str]) -> None:
    """Replace what stands between the marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(marks[0])
    block = "\n".join([marks[0], "", *lines, "", marks[1]])
    page.write_text(before + block + rest.partition(marks[1])[2], encoding="utf-8")
