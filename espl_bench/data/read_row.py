"""Read one row by a layout: the problem as it is shown, and every accepted answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from espl_bench.data.cells import CellError, text_of, unshown
from espl_bench.data.columns import MISSING, value_at
from espl_bench.data.dataset_spec import Wrapper
from espl_bench.data.gold_texts import Choices
from espl_bench.data.item_text import clean, is_blank
from espl_bench.data.layouts import Layout
from espl_bench.seeding import seed_for

PICTURES: Final = ("image", "images", "decoded_image")
"""Columns of pictures, which cannot be shown."""


class RefusedRowError(Exception):
    """A row cannot be used; the message says why, in the plural."""


@dataclass(frozen=True, slots=True)
class ReadRow:
    """What a row says."""

    problem: str
    """As it is shown, without a wrapper, not yet cleaned."""
    answers: tuple[str, ...]
    """Accepted answers, cleaned; at least one."""
    unshown: Sequence[str] = ()
    """What of the problem's columns is not shown: the kind of each piece."""


def read_row(record: Mapping[str, Any], layout: Layout, wrappers: tuple[Wrapper, ...]) -> ReadRow:
    """Read a row. Raises RefusedRowError."""
    for column in PICTURES:
        if record.get(column):
            raise RefusedRowError(f"rows need a picture (column {column})")
    shown = {column: _cell(record, column) for column in layout.problem}
    parts = [_shown(value, column in layout.optional) for column, value in shown.items()]
    problem = "\n\n".join(part for part in parts if not is_blank(part))
    for wrapper in wrappers:
        problem = wrapper.unwrap(problem)
    if is_blank(problem):
        raise RefusedRowError("rows have no problem")
    hidden = [kind for column, value in shown.items() for kind in unshown(value, column in layout.answer)]
    try:
        choices = _offered(record, layout, problem)
        answers = layout.gold([_cell(record, column) for column in layout.answer], choices)
    except CellError as error:
        raise RefusedRowError(f"answers {error}" if str(error) else "rows have no answer") from error
    answers = tuple(dict.fromkeys(text for answer in answers if (text := clean(answer))))
    if not answers:
        raise RefusedRowError("rows have no answer")
    return ReadRow(problem if choices is None else f"{problem}\n\n{choices.lines()}", answers, hidden)


def _cell(record: Mapping[str, Any], column: str) -> Any:
    value = value_at(record, column)
    return None if value is MISSING else value


def _shown(value: Any, optional: bool) -> str:
    """Return a cell's text. Raises RefusedRowError if it has none."""
    if optional and value is None:
        return ""
    try:
        text = text_of(value)
    except CellError as error:
        raise RefusedRowError(f"problems {error}" if str(error) else "rows have no problem") from error
    if not optional and is_blank(text):
        raise RefusedRowError("rows have no problem")
    return text


def _offered(record: Mapping[str, Any], layout: Layout, problem: str) -> Choices | None:
    """Return the choices of a row, in an order of their own if the file names the right one first."""
    if not layout.choices:
        return None
    offered = layout.offer([_cell(record, column) for column in layout.choices])
    if not layout.shuffled:
        return offered
    return Choices(tuple(sorted(offered.texts, key=lambda text: (seed_for(0, "data", "choices", problem, text), text))))
