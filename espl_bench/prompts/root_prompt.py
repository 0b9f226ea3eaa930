"""Read a root prompt from a text file: one principle per line.

Empty lines are skipped. Numbers and bullets before a space (``1.``, ``1)``, ``-``, ``*``, ``•``) are removed, and so are the labels that
prompts are shown with, ``[G0]`` and ``G0:``. In a free text each line is a principle.
"""

import re
from pathlib import Path
from typing import Final

from espl_bench.errors import UsageError, reading
from espl_bench.prompts.forms import BadTextError, split_blocks
from espl_bench.prompts.principle_text import clean_principle
from espl_bench.utils.named_files import decoded, read_named

_MARKER: Final = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])(?:\s+|$)")


def read_principles(file: Path) -> tuple[str, ...]:
    """Read the principles of a file. Raises UsageError if it cannot be read as text or holds none."""
    with reading(file, "the root prompt is a text file", UsageError):
        content = read_named(file)
    return principles_of(content, file)


def principles_of(content: bytes, file: Path) -> tuple[str, ...]:
    """Read the principles in a file's content. Raises UsageError, naming the file, as `read_principles`."""
    principles = tuple(principle for line in _text(content, file).splitlines() if (principle := parse_principle(line)))
    if not principles:
        raise UsageError(f"{file} holds no principle; write one a line, or leave --root-prompt out to start from none")
    return principles


def read_blocks(file: Path) -> tuple[str, ...]:
    """Read the blocks of a file, separated by empty lines. Raises UsageError if it cannot be read as text or holds none."""
    try:
        with reading(file, "the root prompt is a text file", UsageError):
            content = read_named(file)
        blocks = split_blocks(_text(content, file))
    except BadTextError as error:
        raise UsageError(f"{file} holds a block {error}; take it out") from error
    if not blocks:
        raise UsageError(f"{file} holds no text; leave --root-blocks out to start from the environment's own")
    return blocks


def _text(content: bytes, file: Path) -> str:
    try:
        return decoded(content)
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text; save it as UTF-8") from error


def parse_principle(line: str) -> str:
    """Strip number, bullet and label from a line; the result may be empty."""
    marker = _MARKER.match(line)
    return clean_principle(line[marker.end() :] if marker else line)
