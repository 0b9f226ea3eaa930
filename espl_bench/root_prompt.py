"""A root prompt from a text file: one principle a line.

Lines without text are skipped. Taken off a line are numbers and bullets, ``1.``, ``1)``, ``-``, ``*`` and ``•`` before a space,
and the labels that prompts are shown with, ``[G0]`` and ``G0:``. A text of free form is a list of principles by its lines.
"""

import re
from pathlib import Path
from typing import Final

from espl_bench.errors import UsageError
from espl_bench.operators.wire import clean_principle

_MARKER: Final = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])(?:\s+|$)")


def read_principles(file: Path) -> tuple[str, ...]:
    """The principles of a file. Raises UsageError if it cannot be read as text or holds none."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror or error}); --root-prompt takes a text file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text; save it as UTF-8") from error
    principles = tuple(principle for line in text.splitlines() if (principle := parse_principle(line)))
    if not principles:
        raise UsageError(f"{file} holds no principle; write one a line, or leave --root-prompt out to start from none")
    return principles


def parse_principle(line: str) -> str:
    """A line without its number, bullet or label; empty if nothing else is on it."""
    marker = _MARKER.match(line)
    return clean_principle(line[marker.end() :] if marker else line)
