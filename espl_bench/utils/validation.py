"""Shared validation of records and rows on disk: they are frozen, refuse unknown keys, and report their first fault in one line."""

import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from espl_bench.utils.jsonl import InvalidRowError, decode

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SHOWN_WIDTH = 40
"""Maximum characters of a refused value in a message."""

_LONG_NUMBER = re.compile(rb"\d{19}|\d[eE]\+?\d{3}")
"""What a number out of bounds, or a text, may hold."""

Row = TypeVar("Row")


class FrozenRecord(BaseModel):
    """An immutable pydantic model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def first_fault(error: ValidationError) -> str:
    """Return the first fault as ``where: what``; ``file`` means the whole."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "file"
    return f"{where}: {first['msg']}"


def parse_row(adapter: TypeAdapter[Row], line: bytes) -> Row:
    """Read one line as a typed row.

    Raises:
        InvalidRowError: the line is not a JSON object, or a field of it is missing, unknown or of the wrong type.
    """
    if _LONG_NUMBER.search(line):
        decode(line)  # raises if one of its numbers is out of bounds
    try:
        try:
            return adapter.validate_json(line)
        except ValidationError as error:
            if error.errors()[0]["type"] != "json_invalid":
                raise
        # Python's parser has the same messages for all files, and accepts a lone surrogate, which a model may write.
        return adapter.validate_python(decode(line), strict=False)
    except ValidationError as error:
        decode(line)  # raises if the line is not an object
        raise InvalidRowError(_field_fault(error.errors()[0])) from error


def _field_fault(fault: "ErrorDetails") -> str:
    """Name the field at fault and say why."""
    field = "'" + ".".join(map(str, fault["loc"])) + "'"
    context: dict[str, Any] = fault.get("ctx", {})
    match fault["type"]:
        case "missing":
            return f"no field {field}"
        case "unexpected_keyword_argument":
            return f"unknown field {field}"
        case "union_tag_not_found":
            return f"no field {context['discriminator']}"
        case "union_tag_invalid":
            return f"field {context['discriminator']} should be {context['expected_tags']}, not {_shown(context['tag'])}"
        case _:
            return f"field {field} {fault['msg'].removeprefix('Input ')}, not {_shown(fault['input'])}"


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_WIDTH else f"{text[:SHOWN_WIDTH]}…"
