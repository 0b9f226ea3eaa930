"""Read tables of text: CSV, and TSV. A first line that is no header is noticed; a name that occurs twice in the header is refused."""

import csv
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from espl_bench.data.cells import MissingMark
from espl_bench.data.opening import opened
from espl_bench.errors import DataError

Record = dict[str, Any]
MISSING_MARKS: Final = frozenset(
    ("#N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "#N/A N/A", "-1.#IND", "1.#QNAN")
)
"""Texts that pandas reads as a missing value."""
LONGEST_NAME: Final = 64
"""A longer cell is no column's name."""
_NUMBER: Final = re.compile(r"[-+]?[0-9][0-9.,]*%?")
HEADERLESS: Final = {2: ("question", "answer"), 6: ("question", "A", "B", "C", "D", "answer")}
"""Names for the columns of published tables without a header, by their number: MGSM, and MMLU's own files."""


def read_csv(path: Path) -> Iterator[Record]:
    """Yield the rows of a table with commas."""
    return _rows(path, ",", "CSV")


def read_tsv(path: Path) -> Iterator[Record]:
    """Yield the rows of a table with tabs."""
    return _rows(path, "\t", "TSV")


def _rows(path: Path, delimiter: str, kind: str) -> Iterator[Record]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a setting of the process; the default of 131,072 suits no passages
    with opened(path) as file:
        reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), delimiter=delimiter, strict=True)
        try:
            first = next((row for row in reader if row), None)
            if first is None:
                return
            names = _names(first, path, kind)
            if names is None:
                names = HEADERLESS[len(first)]
                yield _record(names, first, f"{path}:{reader.line_num}", kind)
            for row in reader:
                if row:
                    yield _record(names, row, f"{path}:{reader.line_num}", kind)
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num} is not {kind}: {error}; quote fields that hold commas or line ends") from error


def _names(first: list[str], path: Path, kind: str) -> tuple[str, ...] | None:
    """Return the columns' names; None if the first row is none of names but as in a published table without a header."""
    names = tuple(name.strip() for name in first)
    if not any(_NUMBER.fullmatch(name) or len(name) > LONGEST_NAME for name in names) and not _is_mmlu(names):
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            raise DataError(f"{path}: the header names {twice[0]!r} twice; rename one of the two columns")
        if len(names) == 1 and (other := next((mark for mark in ("\t", ";", "|") if mark in names[0]), None)):
            shown = "tabs; name the file .tsv" if other == "\t" else f"{other!r}; save it with commas"
            raise DataError(f"{path} is not {kind} as it should be: its fields are separated by {shown}")
        return names
    if len(names) in HEADERLESS and not all(_NUMBER.fullmatch(name) for name in names):
        return None
    raise DataError(f"{path}: the first line is no header ({', '.join(names)[:80]}); write the columns' names there")


def _is_mmlu(names: tuple[str, ...]) -> bool:
    return len(names) == 6 and names[-1] in ("A", "B", "C", "D") and names[1:5] != ("A", "B", "C", "D")


def _record(names: tuple[str, ...], row: list[str], where: str, kind: str) -> Record:
    if len(row) > len(names):
        remedy = "commas" if kind == "CSV" else "tabs"
        raise DataError(f"{where} has more fields than the header; quote fields that hold {remedy}")
    cells = (*row, *[""] * (len(names) - len(row)))
    return {name: MissingMark(cell) if cell.strip() in MISSING_MARKS else cell for name, cell in zip(names, cells, strict=True)}
