"""Read single cells as text: numbers, bytes, chats, lists and records that were written as text. What has no text says why.

A cell of a published file is often not what its column's name promises: a list of spellings that a table of text holds as
``['Paris' 'Lutetia']`` or ``["Paris", "Lutetia"]``, a chat as JSON, a number as a decimal fraction of fixed length.
"""

import ast
import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Final, cast

from espl_bench.data.item_text import clean

MAX_DIGITS: Final = 10_000
"""A number with more digits is refused."""
QUESTIONER: Final = frozenset({"user", "human"})
"""Who asks in a chat, by OpenAI's and by ShareGPT's names."""
_LIST: Final = re.compile(r"""\s*(?:array\()?\[\s*(?:['"]|\])""")
_MESSAGES: Final = re.compile(r"""\s*(?:array\()?\[\s*\{\s*['"](?:role|content|from|value)['"]\s*:""")
_RECORD: Final = re.compile(r"""\s*\{\s*['"][^'"]*['"]\s*:""")
_QUOTED: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_ARRAY: Final = re.compile(r"array\((\[.*?\])(?:,\s*dtype=\w+)?\)", re.DOTALL)


class CellError(Exception):
    """A cell has no text; the message completes ``answers …``, or is empty if the cell is."""


class MissingMark(str):
    """A text by which tables of text mark a missing value, as ``NA``: nobody knows whether it is meant."""

    __slots__ = ()


def text_of(value: Any) -> str:
    """Convert a value to text: whole numbers without ``.0``, decimals without trailing zeros, of a chat the last user message.

    Raises CellError with the reason if it has none.
    """
    match value:
        case MissingMark():
            raise CellError("are NA, None or another mark of a missing value; save the set as JSON Lines if they are meant")
        case str():
            return _asked(messages) if (messages := messages_in(value)) is not None else value
        case None:
            raise CellError("")
        case bool():
            raise CellError("are true or false; write them as the text that a model should give")
        case int():
            return _digits(Decimal(value))
        case float() if not math.isfinite(value):
            raise CellError(f"are no finite numbers ({value})")
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case Decimal():
            return _digits(value)
        case bytes():
            return _decoded(value)
        case list():
            return _text_of_list(cast(list[Any], value))
        case dict():
            names = ", ".join(map(str, cast(dict[Any, Any], value)))
            raise CellError(f"are records with the fields {names}; name the column with its field, as in a.b")
        case date() | time() | timedelta():
            raise CellError("are dates or times; write them as the text that a model should give")
        case _:
            raise CellError(f"are of the type {type(value).__name__}, which is no text")


def texts_of(value: Any) -> tuple[str, ...]:
    """Return every text of a cell, cleaned, without repetitions: of a list its entries, of a list written as text as well; else one.

    Raises CellError if one has no text; empty ones are left out.
    """
    listed = cast(list[Any], value) if isinstance(value, list) else None
    entries: list[Any] | None = list_in(value) if listed is None or is_chat(listed) else listed
    if entries is None:
        entries = [cast(Any, value)]
    texts = [clean(text_of(entry)) for entry in entries if entry is not None]
    return tuple(dict.fromkeys(text for text in texts if text))


def list_in(value: Any) -> list[Any] | None:
    """Return the list of texts that a text is, as JSON, Python or numpy write it; None for any other text.

    Raises CellError if it begins as one and cannot be read.
    """
    if not isinstance(value, str) or not _LIST.match(value) or not value.rstrip().endswith(("]", ")")):
        return None
    parsed = _literal(value)
    if isinstance(parsed, list) and all(isinstance(entry, str) for entry in cast(list[Any], parsed)) and not _numpy_joined(value):
        return cast(list[Any], parsed)
    inside = value.strip().removeprefix("[").removesuffix("]")
    entries = [_literal(quoted) for quoted in _QUOTED.findall(inside)]
    if _QUOTED.sub("", inside).strip() or not all(isinstance(entry, str) for entry in entries):
        raise CellError("begin as a list in brackets that cannot be read; save the set as JSON Lines")
    return entries


def _numpy_joined(text: str) -> bool:
    """Return True if texts stand side by side without commas, which Python would read as one text."""
    return "," not in _QUOTED.sub("", text) and len(_QUOTED.findall(text)) > 1


def messages_in(value: str) -> list[Any] | None:
    """Return the chat that a text is; None for any other text. Raises CellError if it begins as one and cannot be read."""
    if not _MESSAGES.match(value):
        return None
    parsed = _literal(value)
    if isinstance(parsed, list) and is_chat(cast(list[Any], parsed)):
        return cast(list[Any], parsed)
    raise CellError("begin as a chat that cannot be read; save the set as JSON Lines")


def record_in(value: Any) -> Mapping[str, Any] | None:
    """Return the record that a value is, or that is written in a text; None for anything else."""
    if isinstance(value, Mapping):
        return cast(Mapping[str, Any], value)
    if isinstance(value, str) and _RECORD.match(value) and value.rstrip().endswith("}"):
        parsed = _literal(value)
        return cast(dict[str, Any], parsed) if isinstance(parsed, dict) else None
    return None


def _literal(text: str) -> Any:
    """Read JSON, or a Python literal with numpy's arrays; None if it is neither. Evaluates nothing."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings(action="ignore"):  # of backslashes in LaTeX
            return ast.literal_eval(_ARRAY.sub(r"\1", text.strip()))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def is_chat(values: Sequence[Any]) -> bool:
    """Return True for messages of a chat."""
    return bool(values) and all(isinstance(each, dict) and _speaker(cast(dict[str, Any], each)) is not None for each in values)


def said_by(messages: Sequence[Any], speakers: frozenset[str]) -> list[Any]:
    """Return what the named speakers say, in order."""
    told = [cast(dict[str, Any], message) for message in messages if isinstance(message, dict)]
    return [message.get("content", message.get("value")) for message in told if _speaker(message) in speakers]


def unshown(value: Any, answered: bool = False) -> list[str]:
    """Return the kind of each message of a chat that a model is not shown; if it is `answered`, not of those that follow the question."""
    messages = messages_in(value) if isinstance(value, str) else value
    if not isinstance(messages, list) or len(cast(list[Any], messages)) < 2 or not is_chat(cast(list[Any], messages)):
        return []
    speakers = [_speaker(cast(dict[str, Any], message)) for message in cast(list[Any], messages)]
    last = max((place for place, speaker in enumerate(speakers) if speaker in QUESTIONER), default=len(speakers))
    return [
        "system messages" if speaker == "system" else "earlier messages" if place < last else "messages after the question"
        for place, speaker in enumerate(speakers)
        if place < last or (place > last and not answered)
    ]


def _speaker(message: Mapping[str, Any]) -> str | None:
    speaker = message.get("role", message.get("from"))
    return speaker if isinstance(speaker, str) else None


def _text_of_list(values: list[Any]) -> str:
    if is_chat(values):
        return _asked(values)
    if len(values) == 1:
        return text_of(values[0])
    raise CellError("are lists of several values" if values else "")


def _asked(messages: Sequence[Any]) -> str:
    """Return the last question of a chat."""
    asked = said_by(messages, QUESTIONER)
    if not asked:
        raise CellError("are chats in which no user says anything")
    content = asked[-1]
    return _parts(cast(list[Any], content)) if isinstance(content, list) else text_of(content)


def _parts(parts: list[Any]) -> str:
    """Join the text parts of a message; pictures cannot be shown."""
    texts: list[str] = []
    for part in parts:
        fields = cast(dict[str, Any], part) if isinstance(part, dict) else {"type": "text", "text": part}
        if fields.get("type", "text") != "text" or not isinstance(fields.get("text"), str):
            raise CellError(f"hold a part that is no text ({fields.get('type')})")
        texts.append(fields["text"])
    return "\n".join(texts)


def _digits(value: Decimal) -> str:
    """Write a number in full, without an exponent and without trailing zeros."""
    if not value.is_finite():
        raise CellError(f"are no finite numbers ({value})")
    if max(abs(value.adjusted()), len(value.as_tuple().digits)) > MAX_DIGITS:
        raise CellError(f"are numbers of more than {MAX_DIGITS:,} digits")
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CellError("are bytes that are not UTF-8 text") from error
