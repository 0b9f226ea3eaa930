r"""Read what a model, an endpoint or a page wrote: any sequence of characters, and JSON of any shape.

Such a text may hold half of a character (a lone surrogate, which JSON's ``\ud800`` makes and no encoding can write), a million brackets,
or a number of a million digits. Here it becomes text that can be stored, tokenised and sent on, and JSON whose depth and numbers are
bounded. Time is linear in the text. Files are read by `foreign_json` instead, which keeps half characters and refuses such numbers as
damage; its docstring says why.
"""

import json
import re
from typing import Any, Final, cast

MAX_DEPTH: Final = 64
"""Maximum nesting of objects and lists."""
MAX_DIGITS: Final = 18
"""Maximum digits of a whole number; a longer one is read as a float, which may be infinite."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class ForeignJsonError(ValueError):
    """A text is not JSON that is read here; the message says why, in a few words."""


def readable(text: str) -> str:
    """Replace every lone surrogate by U+FFFD, character by character, so that the text can be encoded. Other text is unchanged."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def parse_json(text: str | bytes) -> object:
    """Parse JSON whose strings are `readable`, and whose depth and numbers are bounded. Raises ForeignJsonError."""
    try:
        value: object = json.loads(text, parse_int=_number)
    except RecursionError as error:
        raise ForeignJsonError(f"more than {MAX_DEPTH} levels of nesting") from error
    except ValueError as error:
        raise ForeignJsonError(error.msg if isinstance(error, json.JSONDecodeError) else "not UTF-8") from error
    return _bounded(value, 0)


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def _bounded(value: object, depth: int) -> object:
    """Copy a JSON value with readable strings. Raises ForeignJsonError beyond `MAX_DEPTH`."""
    if isinstance(value, str):
        return readable(value)
    if not isinstance(value, dict | list):
        return value
    if depth >= MAX_DEPTH:
        raise ForeignJsonError(f"more than {MAX_DEPTH} levels of nesting")
    if isinstance(value, list):
        return [_bounded(item, depth + 1) for item in cast(list[Any], value)]
    return {readable(key): _bounded(item, depth + 1) for key, item in cast(dict[str, Any], value).items()}
