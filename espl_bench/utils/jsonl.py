"""JSON lines in one canonical encoding, and a reader that names the broken line.

The same rows give the same bytes, so that the logs of a resumed run can be compared with those of an unbroken one.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from espl_bench.errors import RunDirError
from espl_bench.utils import atomic_io


def encode(row: Mapping[str, Any]) -> bytes:
    """Encode one line: keys sorted, no spaces, shortest floats that read back equal. NaN and infinities become null.

    Raises TypeError for values that JSON cannot represent.
    """
    try:
        text = _dumps(dict(row))
    except ValueError:  # a number that JSON cannot represent
        text = _dumps(_with_nulls(dict(row)))
    return atomic_io.encode_text(text + "\n")


RESTORE = "restore the file from a copy"


def read_rows(path: Path, torn_remedy: str = RESTORE) -> list[dict[str, Any]]:
    """Read all rows of a log or rollout file, in order. `torn_remedy` is the advice for an incomplete last line.

    Raises:
        RunDirError: the file is missing, or a line is not a JSON object; the message names file and line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunDirError(f"{path} cannot be read ({error.strerror}); {RESTORE}") from error
    return list(rows(path, data, torn_remedy))


def rows(path: Path, data: bytes, torn_remedy: str = RESTORE) -> Iterator[dict[str, Any]]:
    """Yield the rows of bytes that were read from `path`, which errors name; see `read_rows`."""
    lines = data.split(b"\n")
    torn = lines.pop()  # empty if the last line is whole
    for number, line in enumerate(lines, start=1):
        try:
            row: object = json.loads(line)
        except ValueError as error:
            raise RunDirError(f"{path}, line {number}: not JSON ({_reason(error)}); {RESTORE}") from error
        if not isinstance(row, dict):
            raise RunDirError(f"{path}, line {number}: not a JSON object; {RESTORE}")
        yield cast(dict[str, Any], row)
    if torn:
        raise RunDirError(f"{path}, line {len(lines) + 1}: the line is incomplete; {torn_remedy}")


def _reason(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "not UTF-8"


def _dumps(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _with_nulls(item) for key, item in cast(dict[str, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(item) for item in cast(list[Any], value)]
    return value
