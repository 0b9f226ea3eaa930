"""Read records from a file: JSON Lines, JSON, CSV or Parquet, by the file's ending. Errors name the line."""

import csv
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from espl_bench.errors import DataError, UsageError, reading, unknown

Record = dict[str, Any]
BATCH: Final = 4_096
"""Rows of a table held in memory as records at a time."""


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file, in order.

    Raises:
        UsageError: the file does not exist, its ending names no known format, or the package that reads it is missing.
        DataError: it cannot be read as what its ending says.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise unknown("file format", path.suffix or path.name, READERS)
    if not path.is_file():
        raise UsageError(f"{path} does not exist or is not a file; name a file with the ending {', '.join(READERS)}")
    try:
        with reading(path, "check the file", DataError):
            yield from reader(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def _jsonl(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _record(_parsed(line, f"{path}:{number}"), f"{path}:{number}")


def _json(path: Path) -> Iterator[Record]:
    """Yield from a list of records, or from one object whose only list is a list of records."""
    content = _parsed(path.read_text(encoding="utf-8-sig"), str(path))
    inside: list[Any] = list(cast(Record, content).values()) if isinstance(content, dict) else [content]
    lists = [cast(list[Any], value) for value in inside if isinstance(value, list)]
    if len(lists) != 1:
        raise DataError(f"{path} does not hold one list of records; for one record per line, name the file .jsonl")
    for number, value in enumerate(lists[0], start=1):
        yield _record(value, f"{path}: entry {number}")


def _csv(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, restkey="", strict=True)
        try:
            for row in reader:
                if "" in row:
                    raise DataError(f"{path}:{reader.line_num} has more fields than the header; quote fields that hold commas")
                yield {name: "" if value is None else value for name, value in row.items()}
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num} is not CSV: {error}; quote fields that hold commas or line ends") from error


def _parquet(path: Path) -> Iterator[Record]:
    try:
        arrow: Any = import_module("pyarrow")  # loads slowly, and has no types
        parquet: Any = import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise UsageError(f"a Parquet file needs {error.name}; install it with: pip install 'espl-bench[parquet]'") from error
    broken: type[Exception] = arrow.ArrowException
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                yield from batch.to_pylist()
    except broken as error:
        raise DataError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}; fetch it again") from error


READERS: Final[dict[str, Callable[[Path], Iterator[Record]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
"""Readers by the file's ending."""


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}; fix it or take a fresh copy") from error
    except RecursionError as error:
        raise DataError(f"{where} is nested too deeply to be read; fix it or take a fresh copy") from error


def _record(value: Any, where: str) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"{where} is not a record with named fields but {type(value).__name__}")
    return cast(Record, value)
