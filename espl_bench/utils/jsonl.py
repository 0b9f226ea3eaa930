"""JSON lines in one canonical encoding, and a reader that names the broken line.

The same rows give the same bytes, so that the logs of a resumed run can be compared with those of an uninterrupted one.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from espl_bench.errors import RunDirError, reading
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.foreign_json import InvalidJsonError, parse_object
from espl_bench.utils.numbers import is_bounded


def encode(row: Mapping[str, Any]) -> bytes:
    """Encode one line: keys sorted, no spaces, shortest floats that read back equal. A number that is not `is_bounded` becomes null.

    Raises TypeError for values that JSON cannot represent.
    """
    try:
        text = _dumps(dict(row))
    except ValueError:  # a number that JSON cannot represent
        text = _dumps(_with_nulls(dict(row)))
    if _PERHAPS_LARGE.search(text):
        text = _dumps(_with_nulls(dict(row)))
    return atomic_io.encode_text(text + "\n")


RESTORE = "restore the file from a copy"
_PERHAPS_LARGE = re.compile(r"e\+[0-9]{3}")
"""The exponent of every number that is too large, as JSON writes it; a text of a row may look alike."""

Row = TypeVar("Row")


class InvalidRowError(ValueError):
    """A line is not a valid row; the message says why, in a few words."""


def decode(line: bytes) -> dict[str, Any]:
    """Parse the JSON object of one line. Raises InvalidRowError."""
    try:
        return parse_object(line)
    except InvalidJsonError as error:
        raise InvalidRowError(str(error)) from error


def read_rows(path: Path, parse: Callable[[bytes], Row], torn_remedy: str = RESTORE, inside: Path | None = None) -> list[Row]:
    """Read all rows of a log or of a rollout file, in order.

    Args:
        path: the file.
        parse: reads one line; raises InvalidRowError.
        torn_remedy: advice for a last line without an end.
        inside: the run directory, if the file is in a folder of it.

    Raises:
        RunDirError: the file is missing, or a line of it is not a row; the message names file and line.
    """
    with reading(path, RESTORE):
        data = foreign_files.read_bytes(path, inside)
    return list(rows(path, data, parse, torn_remedy))


def rows(path: Path, data: bytes, parse: Callable[[bytes], Row], torn_remedy: str = RESTORE) -> Iterator[Row]:
    """Yield the rows of bytes that were read from `path`, which errors name; see `read_rows`."""
    lines = data.split(b"\n")
    torn = lines.pop()  # empty if the last line is whole
    for number, line in enumerate(lines, start=1):
        try:
            yield parse(line)
        except InvalidRowError as error:
            raise RunDirError(f"{path}, line {number}: {error}; {RESTORE}") from error
    if torn:
        raise RunDirError(f"{path}, line {len(lines) + 1}: the line is incomplete; {torn_remedy}")


def _dumps(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, float):
        return value if is_bounded(value) else None
    if isinstance(value, dict):
        return {key: _with_nulls(item) for key, item in cast(dict[str, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(item) for item in cast(list[Any], value)]
    return value
