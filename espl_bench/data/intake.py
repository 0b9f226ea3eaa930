"""Convert records to items, with a report of what is read, refused and removed. Nothing is dropped silently.

A repeated problem (exactly the same text, without a data set's wrapper) keeps its first position and its last answer. Comparing
before anything is cleaned keeps the published number and order of items, on which selections such as "shuffle with seed 42, take
100" depend.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from espl_bench.data.columns import choose_columns, text_of, value_at
from espl_bench.data.dataset_spec import USUAL_COLUMNS, Columns, DataSource
from espl_bench.data.item_text import Item, clean, identity_of, repairs
from espl_bench.errors import DataError

SHOWN: Final = 3
"""Maximum number of rows that a message names."""


@dataclass(frozen=True, slots=True)
class Intake:
    """The items of one data set, and how they were obtained."""

    items: tuple[Item, ...]
    columns: Columns
    rows_read: int
    duplicates: int
    """Rows that repeated an earlier problem."""
    conflicts: tuple[int, ...]
    """Rows, counted from 0, of problems that came with several answers; the last answer counts."""
    repaired: int
    """Damaged LaTeX commands that were restored."""

    @property
    def identity(self) -> str:
        """See `text.identity_of`."""
        return identity_of(self.items)


class _RefusedRowError(Exception):
    """A row cannot be used; the message says why, in the plural."""


@dataclass(slots=True)
class _Refusals:
    """Unusable rows, which prevent the import, by fault."""

    rows: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def add(self, fault: str, row: int) -> None:
        self.rows.setdefault(fault, []).append(row)

    def check(self, where: str) -> None:
        """Raise DataError naming the first rows of each kind."""
        if self.rows:
            faults = [
                f"{len(rows)} {fault} (row {', '.join(map(str, rows[:SHOWN]))}{', …' * (len(rows) > SHOWN)})"
                for fault, rows in self.rows.items()
            ]
            raise DataError(f"{where}: {'; '.join(faults)}, counted from 0; nothing was imported: fix or remove these rows")


@dataclass(slots=True)
class _Merged:
    """A distinct problem: its last answer and first row."""

    answer: str
    row: int
    several: bool = False
    """True if it came with several answers."""


def take_in(
    records: Iterable[Mapping[str, Any]],
    where: str,
    source: DataSource | None = None,
    problem_column: str | None = None,
    answer_column: str | None = None,
) -> Intake:
    """Read a data set.

    Args:
        records: its rows, in order; read once.
        where: names it in messages.
        source: how its rows are read; None: as a file of the user's own.
        problem_column: overrides the columns that the source names.
        answer_column: the same.

    Raises:
        UsageError: a column is missing.
        DataError: there are no rows, or rows without a problem or an answer.
    """
    known = USUAL_COLUMNS if source is None else source.columns
    columns: Columns | None = None
    merged: dict[str, _Merged] = {}
    refusals = _Refusals()
    row = -1
    for row, record in enumerate(records):
        columns = columns or choose_columns(record, known, problem_column, answer_column, where)
        try:
            problem, answer = _pair(record, columns, source)
        except _RefusedRowError as refused:
            refusals.add(str(refused), row)
            continue
        before = merged.setdefault(problem, _Merged(answer, row))
        before.several |= before.answer != answer
        before.answer = answer
    refusals.check(where)
    if columns is None:
        raise DataError(f"{where} has no rows; nothing was imported")
    return Intake(
        items=tuple(Item(clean(problem), entry.answer, entry.row) for problem, entry in merged.items()),
        columns=columns,
        rows_read=row + 1,
        duplicates=row + 1 - len(merged),
        conflicts=tuple(entry.row for entry in merged.values() if entry.several),
        repaired=sum(map(repairs, merged)),
    )


def _pair(record: Mapping[str, Any], columns: Columns, source: DataSource | None) -> tuple[str, str]:
    """Problem, without its wrapper and not yet cleaned, and answer, cleaned. Raises _RefusedRowError."""
    problem, answer = text_of(value_at(record, columns.problem)), _answer(value_at(record, columns.answer), source)
    if problem is not None and source is not None and source.wrapper is not None:
        problem = source.wrapper.unwrap(problem)
    if problem is None or not clean(problem):
        raise _RefusedRowError("rows have no problem")
    if answer is None or not (answer := clean(answer)):
        raise _RefusedRowError("rows have no answer")
    if source is not None and source.answers == "integer":
        answer = _integer(answer)
        if answer is None:
            raise _RefusedRowError("answers are not integers")
    return problem, answer


def _answer(value: Any, source: DataSource | None) -> str | None:
    """Return an answer as text; where several may be right, all non-empty ones as a JSON list."""
    if source is None or source.answers != "list":
        return text_of(value)
    texts = [text_of(entry) for entry in cast(list[Any], value)] if isinstance(value, list) else [text_of(value)]
    said = dict.fromkeys(clean(text) for text in texts if text is not None and clean(text))
    return json.dumps(list(said), ensure_ascii=False) if said else None


def _integer(answer: str) -> str | None:
    """Return ``033`` and ``33.0`` as ``33``; None if it is not an integer."""
    whole, _, fraction = answer.partition(".")
    bare = whole.removeprefix("-")
    if not (bare.isascii() and bare.isdecimal()) or fraction.strip("0"):
        return None
    digits = bare.lstrip("0") or "0"  # as text: Python refuses to read thousands of digits as a number
    return f"-{digits}" if whole.startswith("-") and digits != "0" else digits
