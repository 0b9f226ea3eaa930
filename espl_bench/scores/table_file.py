"""Read scores from a table: CSV, TSV, JSON, JSON Lines, Parquet or Arrow, a row per sample."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from espl_bench.data.files import read_records
from espl_bench.errors import DataError, UsageError, unknown
from espl_bench.scores.score import Score, Selection, Source, number

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "score": ("score", "reward", "correct", "is_correct", "acc", "accuracy", "value"),
    "item": ("item", "item_id", "problem_id", "example_id", "question_id", "doc_id", "id"),
    "method": ("method", "model", "system", "algorithm"),
    "seed": ("seed", "run", "run_id"),
    "sample": ("sample", "epoch", "attempt", "repeat"),
    "test": ("test", "task", "benchmark", "env", "environment", "dataset"),
}
"""Names under which a column's role is recognised, in any case."""
NEEDED: Final = ("score", "item")


def read_table(source: Source, selection: Selection) -> Iterator[Score]:
    """Yield the scores of a table.

    Raises:
        UsageError: a column is missing or several could be meant.
        DataError: a row lacks its item.
    """
    names: dict[str, str] = {}
    for place, record in enumerate(read_records(source.path), start=1):
        if place == 1:
            names = _columns(list(record), source.path, selection)
        where = f"{source.path}, row {place}"
        item = _text(record.get(names["item"]))
        if not item:
            raise DataError(f"{where} has no {names['item']}; every score needs its item")
        yield Score(
            test=_text(record.get(names.get("test", ""))),
            method=source.method or _text(record.get(names.get("method", ""))) or source.path.stem,
            run=source.run or _text(record.get(names.get("seed", ""))),
            item=item,
            value=_value(record.get(names["score"]), where),
            sample=_text(record.get(names.get("sample", ""))),
        )


def _value(value: Any, where: str) -> float | None:
    """Read a cell. An empty one is a failure that the table states; other text is none of our business to guess at."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    read = number(value)
    if read is None and str(value).strip().casefold() not in ("nan", "null", "none", "na", "n/a"):
        raise DataError(f"{where}: the score {str(value)[:40]!r} is no number; name the column of the scores with --column score=NAME")
    return read


def _columns(header: Sequence[str], path: Path, selection: Selection) -> dict[str, str]:
    """Find the column of each role. Raises UsageError."""
    wanted = next((name for name in selection.metrics if name in header), None)
    if selection.metrics and wanted is None:
        raise unknown(f"column of {path.name}", selection.metrics[0], header)
    named = {"score": wanted} if wanted is not None else {}
    names: dict[str, str] = {}
    for role, column in {**named, **selection.columns}.items():
        if role not in ROLES:
            raise unknown("role of a column", role, ROLES)
        if column not in header:
            raise unknown(f"column of {path.name}", column, header)
        names[role] = column
    for role, usual in ROLES.items():
        fitting = [column for column in header if column.strip().casefold() in usual and column not in names.values()]
        if role in names:
            continue
        if len(fitting) > 1 and role in NEEDED:
            raise UsageError(f"{path} has several columns that may be the {role}: {', '.join(fitting)}; name one: --column {role}=NAME")
        if fitting:
            names[role] = min(fitting, key=lambda column: usual.index(column.strip().casefold()))
        elif role in NEEDED:
            raise UsageError(f"{path} has no column for the {role} ({', '.join(header)}); name it: --column {role}=NAME")
    return names


def _text(value: Any) -> str:
    """Write a cell as the name of something: 1.0 and 1 are one seed."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
