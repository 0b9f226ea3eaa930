"""Read records from a file, by the file's ending. Errors name the line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from espl_bench.data.arrow_files import Record, read_arrow, read_parquet
from espl_bench.data.delimited_files import read_csv, read_tsv
from espl_bench.data.json_files import read_json, read_json_lines
from espl_bench.data.opening import PACKED, beginning, ending_of
from espl_bench.errors import DataError, UsageError, reading, unknown

READERS: Final[dict[str, Callable[[Path], Iterator[Record]]]] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
"""Readers by the file's ending, without ``.gz`` or ``.zst``."""
PARQUET: Final = b"PAR1"


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file, in order.

    Raises:
        UsageError: the file does not exist, its ending names no known format, or the package that reads it is missing.
        DataError: it cannot be read as what its ending says.
    """
    reader = READERS.get(ending_of(path))
    if reader is None and not (path.is_file() and beginning(path).startswith(PARQUET)):
        raise unknown("file format", path.suffix or path.name, (*READERS, *(f"{ending} after one of them" for ending in PACKED)))
    if not path.is_file():
        raise UsageError(f"{path} does not exist or is not a file; name a file with the ending {', '.join(READERS)}")
    try:
        with reading(path, "check the file", DataError):
            yield from (reader or read_parquet)(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
