"""Find problem and answer in a record: by named columns, or by those that data sets usually have.

A value may be a text, a number, or a chat (a list of messages, whose last user message is the problem). Dots in a column's
name lead into nested records.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from espl_bench.data.dataset_spec import Columns
from espl_bench.errors import UsageError, unknown

MISSING: Final = object()
"""Returned by `value_at` for a column that does not exist."""


def choose_columns(record: Mapping[str, Any], known: Sequence[Columns], problem: str | None, answer: str | None, where: str) -> Columns:
    """Return the columns that hold problem and answer.

    Args:
        record: the first record of the file.
        known: pairs to try where a column is not named, first fit first.
        problem: the problem's column, if the user named it.
        answer: the answer's column, if the user named it.
        where: names the file in messages.

    Raises:
        UsageError: a named column does not exist (the nearest one is named), or no known pair fits.
    """
    present = list(_paths(record))
    for named in (problem, answer):
        if named is not None and value_at(record, named) is MISSING:
            raise unknown(f"column of {where}", named, present)
    for pair in known:
        wanted = Columns(problem or pair.problem, answer or pair.answer)
        if value_at(record, wanted.problem) is not MISSING and value_at(record, wanted.answer) is not MISSING:
            return wanted
    pairs = " or ".join(f"{pair.problem} + {pair.answer}" for pair in known)
    raise UsageError(
        f"{where} has no columns {pairs}, but {', '.join(present) or 'none'}; name them with --problem-column and --answer-column"
    )


def value_at(record: Mapping[str, Any], path: str) -> Any:
    """Return the value of a column, or `MISSING`. A name that holds dots itself is taken literally first."""
    if path in record:
        return record[path]
    value: Any = record
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = cast(Mapping[str, Any], value)[part]
    return value


def text_of(value: Any) -> str | None:
    """Convert a value to text: whole numbers without ``.0``, of a chat the last user message; None if it has no text, as NaN."""
    match value:
        case str():
            return value
        case bool():
            return None
        case int():
            return str(value)
        case float() if not math.isfinite(value):
            return None
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case list():
            return _last_said(cast(list[Any], value))
        case _:
            return None


def _last_said(messages: Sequence[Any]) -> str | None:
    for message in reversed(messages):
        if isinstance(message, dict):
            fields = cast(dict[str, Any], message)
            if fields.get("role") == "user" and isinstance(fields.get("content"), str):
                return fields["content"]
    return None


def _paths(record: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in record.items():
        yield f"{before}{name}"
        if isinstance(value, Mapping):
            yield from _paths(cast(Mapping[str, Any], value), f"{before}{name}.")
