"""A root prompt from a text file: one principle a line.

Lines without text are skipped. Taken off a line are numbers and bullets, ``1.``, ``1)``, ``-``, ``*`` and ``•`` before a space,
and the labels that prompts are shown with, ``[G0]`` and ``G0:``. A text of free form is a list of principles by its lines.
"""

import re
from pathlib import Path
from typing import Final

from espl_bench.errors import UsageError, reading
from espl_bench.prompts.forms import BadTextError, split_blocks
from espl_bench.prompts.text import clean_principle

_MARKER: Final = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])(?:\s+|$)")


def read_principles(file: Path) -> tuple[str, ...]:
    """The principles of a file. Raises UsageError if it cannot be read as text or holds none."""
    text = _text(file)
    principles = tuple(principle for line in text.splitlines() if (principle := parse_principle(line)))
    if not principles:
        raise UsageError(f"{file} holds no principle; write one a line, or leave --root-prompt out to start from none")
    return principles


def read_blocks(file: Path) -> tuple[str, ...]:
    """The blocks of a file: what empty lines separate. Raises UsageError if it cannot be read as text or holds none."""
    try:
        blocks = split_blocks(_text(file))
    except BadTextError as error:
        raise UsageError(f"{file} holds a block {error}; take it out") from error
    if not blocks:
        raise UsageError(f"{file} holds no text; leave --root-blocks out to start from the environment's own")
    return blocks


def _text(file: Path) -> str:
    try:
        with reading(file, "the root prompt is a text file", UsageError):
            return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text; save it as UTF-8") from error


def parse_principle(line: str) -> str:
    """A line without its number, bullet or label; empty if nothing else is on it."""
    marker = _MARKER.match(line)
    return clean_principle(line[marker.end() :] if marker else line)
