"""Find columns in a record by name.

Dots in a name lead into nested records, also into those that are written as text, and into lists: ``arguments.0``.

Names are compared without case, blanks and underscores: ``Correct Answer`` is the column ``correct_answer``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from espl_bench.data.cells import record_in
from espl_bench.errors import UsageError, unknown

MISSING: Final = object()
"""Returned by `value_at` for a column that does not exist."""
_BETWEEN: Final = re.compile(r"[\s_-]+")


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """Return the value of a column, or `MISSING`. A name that holds dots itself is taken literally first."""
    if path in record:
        return record[path]
    if "." not in path:
        return MISSING
    value: Any = record
    for part in path.split("."):
        inside = _fields(value)
        if part not in inside:
            return MISSING
        value = inside[part]
    return value


def _fields(value: Any) -> Mapping[str, Any]:
    """Return the fields of a record, also of one in a text, or the entries of a list by their places; empty for any other value."""
    if isinstance(value, list):
        return {str(place): entry for place, entry in enumerate(cast(list[Any], value))}
    return record_in(value) or {}


def located(record: Mapping[str, Any], path: str) -> str | None:
    """Return the path as the record spells it; None if it has no such column.

    Raises UsageError if two columns fit that differ only in their spelling.
    """
    if value_at(record, path) is not MISSING:
        return path
    found: list[str] = []
    value: Any = record
    for part in path.split("."):
        inside = _fields(value)
        names = [name for name in inside if folded_name(name) == folded_name(part)]
        if not names:
            return None
        if len(names) > 1:
            raise UsageError(f"the columns {' and '.join(map(repr, names))} differ only in their spelling; rename one of them")
        found.append(names[0])
        value = inside[names[0]]
    return ".".join(found)


def named_column(record: Mapping[str, Any], path: str, where: str) -> str:
    """Return a column that the user named. Raises UsageError, with the nearest one, if it does not exist."""
    if value_at(record, path) is MISSING:
        raise unknown(f"column of {where}", path, list(paths(record)))
    return path


def folded_name(name: str) -> str:
    """Return a name as it is compared."""
    return _BETWEEN.sub("", str(name)).casefold()


def paths(record: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Yield the names of all columns, nested ones with dots."""
    for name, value in record.items():
        yield f"{before}{name}"
        if isinstance(value, Mapping) or (isinstance(value, str) and record_in(value) is not None):
            yield from paths(record_in(value) or {}, f"{before}{name}.")
