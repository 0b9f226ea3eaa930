"""JSON from files that may come from elsewhere: bounded in depth and in its numbers, and refused with one type of error.

Python's parser takes integers of any length, numbers that overflow, the words NaN and Infinity, and nesting that ends later code with
a RecursionError. None of these is ever written by this package.

It is not the reader of `foreign_text`: a file is kept as it is, half characters included, because a resumed run must equal its log byte for
byte, and a number that no row holds is damage there; in what a model wrote the one is replaced and the other is no fault of the run.
"""

import json
import math
from typing import Any, Final, NoReturn, TypeVar, cast

from pydantic import BaseModel, ValidationError

from espl_bench.utils.numbers import is_bounded

MAX_DEPTH: Final = 64
"""Levels of nesting. The deepest of our own records has nine."""
MAX_INT: Final = 2**63
"""Integers stay below it in size, so that every later computation with floats is defined."""
MAX_DIGITS: Final = 400
"""Characters of a number; the longest float that we write has 24."""

Record = TypeVar("Record", bound=BaseModel)


class InvalidJsonError(ValueError):
    """A text is not JSON as this package writes it; the message says why, in a few words."""


def parse_json(data: bytes | str) -> Any:
    """Parse JSON. A lone surrogate, which a model may have written, is kept. Raises InvalidJsonError, never another error."""
    try:
        value: Any = json.loads(data, parse_int=_integer, parse_float=_number, parse_constant=_constant)
    except RecursionError as error:
        raise InvalidJsonError("too deeply nested") from error
    except json.JSONDecodeError as error:
        raise InvalidJsonError(f"not JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise InvalidJsonError("not JSON (not UTF-8)") from error
    if _is_deeper(value, MAX_DEPTH):
        raise InvalidJsonError("too deeply nested")
    return value


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Parse a JSON object. Raises InvalidJsonError."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise InvalidJsonError("not a JSON object")
    return cast(dict[str, Any], value)


def parse_record(model: type[Record], data: bytes) -> Record:
    """Read a record. Raises ValidationError, or InvalidJsonError, both of them a ValueError."""
    value = parse_json(data)
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
            raise
    try:
        return model.model_validate(value)  # with a lone surrogate, which pydantic's own parser refuses
    except UnicodeEncodeError as error:
        raise InvalidJsonError("the name of a field holds half a character") from error


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS or abs(number := int(digits)) >= MAX_INT:
        raise InvalidJsonError(f"a number of {len(digits)} digits")
    return number


def _number(text: str) -> float:
    number = float(text) if len(text) <= MAX_DIGITS else math.inf
    if not is_bounded(number):
        raise InvalidJsonError("a number that is too large")
    return number


def _constant(word: str) -> NoReturn:
    raise InvalidJsonError(f"{word} is no JSON number")


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether there is anything below so many levels, without recursion."""
    here: list[Any] = [value]
    for _ in range(levels + 1):
        here = [below for item in here if isinstance(item, dict | list) for below in _children(item)]
        if not here:
            return False
    return True


def _children(item: Any) -> Any:
    return cast(dict[str, Any], item).values() if isinstance(item, dict) else cast(list[Any], item)
