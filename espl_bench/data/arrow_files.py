"""Read Parquet files and Arrow files (of `datasets`, or of Feather), in batches."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from espl_bench.data.opening import GZIP, ZSTANDARD, arrow_package, beginning
from espl_bench.errors import DataError

Record = dict[str, Any]
BATCH: Final = 4_096
"""Rows of a table held in memory as records at a time."""
ARROW_FILE: Final = b"ARROW1"
"""First bytes of an Arrow file; one without them is an Arrow stream, as `datasets` writes it."""


def read_parquet(path: Path) -> Iterator[Record]:
    """Yield the rows of a Parquet file."""
    arrow = arrow_package("a Parquet file")
    parquet: Any = import_module("pyarrow.parquet")
    _refuse_packed(path)
    broken: type[Exception] = arrow.ArrowException
    try:
        with parquet.ParquetFile(path) as file:
            _require_distinct(file.schema_arrow.names, path)
            for batch in file.iter_batches(batch_size=BATCH):
                yield from records_of(batch)
    except broken as error:
        raise DataError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}; fetch it again") from error


def read_arrow(path: Path) -> Iterator[Record]:
    """Yield the rows of an Arrow file or stream."""
    arrow = arrow_package("an Arrow file")
    ipc: Any = import_module("pyarrow.ipc")
    start = _refuse_packed(path)
    broken: type[Exception] = arrow.ArrowException
    try:
        with arrow.OSFile(str(path)) as file:
            reader: AbstractContextManager[Any] = (ipc.open_file if start.startswith(ARROW_FILE) else ipc.open_stream)(file)
            with reader as batches:
                _require_distinct(batches.schema.names, path)
                whole = (
                    [batches.get_batch(place) for place in range(batches.num_record_batches)] if start.startswith(ARROW_FILE) else batches
                )
                for batch in whole:
                    yield from records_of(batch)
    except (broken, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error).splitlines() or ["nothing in it"])[0]
        raise DataError(f"{path} is not an Arrow file: {reason}; fetch it again") from error


def records_of(batch: Any) -> Iterator[Record]:
    """Yield the rows of a batch. Floats of less than double precision keep the digits that they are written with: 0.1, not 0.1000000015."""
    arrow = arrow_package("a table")
    short = [place for place, field in enumerate(batch.schema) if field.type in (arrow.float16(), arrow.float32())]
    if not short:
        yield from batch.to_pylist()
        return
    names = [batch.schema.names[place] for place in short]
    numbers = {name: batch.column(place).to_numpy(zero_copy_only=False) for name, place in zip(names, short, strict=True)}
    for row, record in enumerate(batch.to_pylist()):
        yield record | {name: None if record[name] is None else float(str(numbers[name][row])) for name in names}


def _refuse_packed(path: Path) -> bytes:
    start = beginning(path)
    if start.startswith((GZIP, ZSTANDARD)):
        raise DataError(f"{path} is packed as a whole; unpack it first, or pack the table's columns instead")
    return start


def _require_distinct(names: list[str], path: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has two columns named {twice[0]!r}; rename one of them")
