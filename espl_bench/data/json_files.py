"""Read JSON and JSON Lines. Numbers keep every digit, and a name that occurs twice in a record is refused: one of the two would be lost."""

import io
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final, cast

from espl_bench.data.cells import is_chat
from espl_bench.data.opening import opened
from espl_bench.errors import DataError

Record = dict[str, Any]
LONGEST_INTEGER: Final = 4_000
"""Digits up to which an integer is read as one; Python refuses somewhat more, for its conversion takes quadratic time."""
CONVERSATION: Final = "conversations"
"""Column of a row that is not a record but a list of messages."""


def read_json_lines(path: Path) -> Iterator[Record]:
    """Yield the record of each line; empty lines are skipped."""
    with opened(path) as file:
        yield from _lines(_text(file), path)


def read_json(path: Path) -> Iterator[Record]:
    """Yield from a list of records, or from one object whose only list of records it is; else read JSON Lines, if it begins as such."""
    with opened(path) as file:
        text = _text(file).read()
    if _has_records_on_lines(text):
        yield from _lines(io.StringIO(text), path)
        return
    for number, value in enumerate(_records_of(_parsed(text, str(path), ""), path), start=1):
        yield _record(value, f"{path}: entry {number}")


def _text(file: IO[bytes]) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding="utf-8-sig")


def _lines(lines: Iterator[str] | io.StringIO | io.TextIOWrapper, path: Path) -> Iterator[Record]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield _record(_parsed(line, where, "; one record a line, or name a file that is one JSON document .json"), where)


def _has_records_on_lines(text: str) -> bool:
    """Return True if the first line is a whole record and more follows."""
    first, _, rest = text.lstrip().partition("\n")
    if not rest.strip() or not first.startswith("{") or not first.rstrip().endswith("}"):
        return False
    try:
        json.loads(first, parse_int=str)
    except (ValueError, RecursionError):
        return False
    return True


def _records_of(content: Any, path: Path) -> list[Any]:
    """Return the list of records in a document. Raises DataError if there is none, or more than one."""
    if isinstance(content, list):
        return cast(list[Any], content)
    fields = cast(Record, content) if isinstance(content, dict) else {}
    found = {name: cast(list[Any], value) for name, value in fields.items() if _is_list_of_records(value)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise DataError(f"{path} does not hold one list of records but {len(found)} ({', '.join(found)}); put each into a file of its own")
    if fields and all(isinstance(value, dict) for value in fields.values()):
        raise DataError(f"{path} does not hold one list of records but an object by names; write its values as a list")
    if fields and all(isinstance(value, list) and len(cast(list[Any], value)) > 0 for value in fields.values()):
        raise DataError(f"{path} does not hold one list of records but columns; write it with to_json(orient='records', lines=True)")
    empty = [name for name, value in fields.items() if value == []]
    if len(empty) == 1:
        return []
    raise DataError(f"{path} does not hold one list of records; for one record per line, name the file .jsonl")


def _is_list_of_records(value: Any) -> bool:
    entries = cast(list[Any], value) if isinstance(value, list) else []
    return len(entries) > 0 and all(isinstance(entry, dict) for entry in entries)


def _parsed(text: str, where: str, hint: str) -> Any:
    try:
        return json.loads(text, parse_float=_exact, parse_int=_integer, object_pairs_hook=_once)
    except _TwiceError as error:
        raise DataError(f"{where} names {str(error)!r} twice in one record; remove one of the two") from error
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}; fix it or take a fresh copy{hint}") from error
    except RecursionError as error:
        raise DataError(f"{where} is nested too deeply to be read; fix it or take a fresh copy") from error


class _TwiceError(Exception):
    """A record has a name twice."""


def _once(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return record


def _exact(digits: str) -> float | Decimal:
    """Return a float if it stands for these digits, else the decimal fraction itself: ``12345678901234567890.0`` has no float."""
    value = float(digits)
    return value if math.isfinite(value) and Decimal(repr(value)) == Decimal(digits) else Decimal(digits)


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= LONGEST_INTEGER else Decimal(digits)


def _record(value: Any, where: str) -> Record:
    if _is_list_of_records(value) and is_chat(cast(list[Any], value)):
        return {CONVERSATION: value}
    if not isinstance(value, dict):
        raise DataError(f"{where} is not a record with named fields but {type(value).__name__}; write one record with names a line")
    return cast(Record, value)
