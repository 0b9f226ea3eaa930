r"""Recover JSON objects from the text that a language model wrote around, between and inside them.

Why not a library: json-repair 0.64.5 (the best kept one) was tried on the cases in ``tests/evolution/test_edits.py``. It returns only the
last of several consecutive objects, completes a truncated object with half a sentence, turns ``\beta`` and ``\theta`` into control
characters, and needs seconds for 10^5 open braces. json5 is strict where models are not: the first fault loses the whole text.

Accepted beyond strict JSON: prose and code fences around the values, ``#`` and ``//`` comments between tokens
(never inside strings), missing and trailing commas, single-quoted strings, bare words, raw line breaks in strings,
unescaped quotes inside a string where the end of the string is still clear, and LaTeX backslashes. The one place where
strict JSON is read differently: ``\b``, ``\f``, ``\r``, ``\t`` before a letter, and ``\n`` where it begins a LaTeX
command, are backslashes (``\frac``, ``\theta``, ``\neq``), because models write those and never form feeds.

The time is linear: the scanner moves forward, and the few places where it looks at text twice are charged to a
budget of a fixed multiple of the length. Nesting is bounded. Nothing is evaluated.
"""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

JsonValue: TypeAlias = "str | int | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

MAX_DEPTH: Final = 8
"""Maximum nesting of objects and lists; an edit needs three."""

_WORK_PER_CHARACTER: Final = 8
_TRIVIA = re.compile(r"(?:[\s,]++|#[^\n]*+|//[^\n]*+)*+")
_OPENING = re.compile(r"[{\[]")
_BARE = re.compile(r"[^\s,:\[\]{}\"'#/\\]++")
_SPECIAL = {'"': re.compile(r'["\\]'), "'": re.compile(r"['\\]")}
_LETTERS = re.compile(r"[A-Za-z]*+")
_UNICODE = re.compile(r"[0-9A-Fa-f]{4}")
_ESCAPES: Final = dict(zip("\"'\\/bfnrt", "\"'\\/\b\f\n\r\t", strict=True))
_LATEX_N: Final = frozenset({"nu", "ne", "neq", "neg", "not", "notin", "nmid", "nabla", "nexists", "nless", "ngtr"})

# Characters that may follow the closing quote, by the string's role. Before anything else the quote is part of the text.
_COMMON_END = r"""\s*+(?:\Z|[}\]#]|//)|[^\S\n]*+\n\s*+["']|"""
_END_IN_OBJECT = re.compile(_COMMON_END + r"""\s*+,\s*+(?:\Z|[}\]#]|//|\{\s*+["']|(["'])[^"'\\\n]{0,40}\1\s*+:)""")
_END_IN_LIST = re.compile(_COMMON_END + r"""\s*+,\s*+[^\s,]""")
_COLON = re.compile(r"\s*+:")


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One complete object and its position."""

    value: JsonObject
    start: int
    end: int
    """Half-open span in the text; an object inside another has its span inside the other's."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """All complete objects of a text."""

    objects: tuple[FoundObject, ...]
    """By start: an outer object comes before the objects inside it, which are listed too."""
    damaged: tuple[str, ...]
    """One line for each object that began with a quoted key and could not be finished."""
    empty_list: bool
    """True if an empty list occurred outside any object: the model's way to say that there is nothing to do."""


def recover_objects(text: str) -> Recovered:
    """Find every complete JSON object in the text. Never raises; the module's docstring lists the tolerated faults."""
    scanner = _Scanner(text)
    position = 0
    while (opening := _OPENING.search(text, position)) is not None:
        position = scanner.read_at(opening.start())
    objects = tuple(sorted(scanner.objects, key=lambda found_object: found_object.start))
    return Recovered(objects, tuple(scanner.damaged), scanner.empty_list)


class _JsonError(Exception):
    """The value being read cannot be finished; reading goes on, as prose, at ``resume``."""

    def __init__(self, reason: str, resume: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.resume = resume


class _Scanner:
    """A recursive-descent reader over one text; methods take a position and return the one after what they read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.objects: list[FoundObject] = []
        self.damaged: list[str] = []
        self.empty_list = False
        self._budget = _WORK_PER_CHARACTER * len(text) + 1000
        self._open_keys = 0
        """Keys begun so far in unfinished values: tells damaged JSON from braces in prose."""

    def read_at(self, position: int) -> int:
        """Try to read the object or list that opens here; returns where to continue, always further right."""
        self._open_keys = 0
        try:
            if self.text[position] == "{":
                return self._object(position, 1)[1]
            follow = self._trivia(position + 1)
            if self.text[follow : follow + 1] not in {"{", "]"}:
                return position + 1
            items, end = self._list(position, 1)
            self.empty_list = self.empty_list or not items
            return end
        except _JsonError as fault:
            if self._open_keys or self._budget < 0:
                self.damaged.append(f"JSON from character {position}: {fault.reason}")
            return max(fault.resume, position + 1)

    def _object(self, start: int, depth: int) -> tuple[JsonObject, int]:
        if depth > MAX_DEPTH:
            raise _JsonError(f"more than {MAX_DEPTH} levels of nesting", start)
        value: JsonObject = {}
        keys_before = self._open_keys
        position = self._trivia(start + 1)
        while self._peek(position) != "}":
            if self._peek(position) not in _SPECIAL:
                raise _JsonError("a key was expected", position)
            self._open_keys += 1
            key_start = position
            key, position = self._string(key_start, None)
            position = self._trivia(position)
            if self._peek(position) != ":":
                raise _JsonError("a colon was expected after a key", key_start + 1)
            value[key], position = self._value(self._trivia(position + 1), depth, _END_IN_OBJECT)
            position = self._trivia(position)
        self.objects.append(FoundObject(value, start, position + 1))
        self._open_keys = keys_before
        return value, position + 1

    def _list(self, start: int, depth: int) -> tuple[list[JsonValue], int]:
        if depth > MAX_DEPTH:
            raise _JsonError(f"more than {MAX_DEPTH} levels of nesting", start)
        items: list[JsonValue] = []
        position = self._trivia(start + 1)
        while self._peek(position) != "]":
            item, position = self._value(position, depth, _END_IN_LIST)
            items.append(item)
            position = self._trivia(position)
        return items, position + 1

    def _value(self, position: int, depth: int, end_of_string: re.Pattern[str]) -> tuple[JsonValue, int]:
        first = self._peek(position)
        if first == "{":
            return self._object(position, depth + 1)
        if first == "[":
            return self._list(position, depth + 1)
        if first in _SPECIAL:
            return self._string(position, end_of_string)
        word = _BARE.match(self.text, position)
        if word is None:
            raise _JsonError("a value was expected", position)
        return _bare_value(word.group()), word.end()

    def _string(self, start: int, end: re.Pattern[str] | None) -> tuple[str, int]:
        """Read the string that opens at ``start``; ``end`` distinguishes its last quote from inner ones (None: the first)."""
        special = _SPECIAL[self.text[start]]
        chunks: list[str] = []
        position = start + 1
        while (match := special.search(self.text, position)) is not None:
            at = match.start()
            self._spend(at + 1 - position)
            chunks.append(self.text[position:at])
            if match.group() == "\\":
                chunk, position = self._escape(at)
                chunks.append(chunk)
            elif end is None or end.match(self.text, at + 1):
                return "".join(chunks), at + 1
            elif _COLON.match(self.text, at + 1):
                # A key where text was expected: this string lost its closing quote somewhere before.
                raise _JsonError("a string is not closed", start + 1)
            else:
                chunks.append(match.group())
                position = at + 1
        # No key runs to the end of a text: that was prose. A value may, in a text that was cut.
        raise _JsonError("the text ends inside it", start + 1 if end is None else len(self.text))

    def _escape(self, at: int) -> tuple[str, int]:
        """Decode the backslash at ``at``, and return the position after it. An unknown escape is a backslash."""
        follow = self.text[at + 1 : at + 2]
        if follow == "u":
            return self._unicode(at)
        word = _LETTERS.match(self.text, at + 1, at + 21)
        letters = "" if word is None else word.group()
        is_latex = letters in _LATEX_N if follow == "n" else len(letters) > 1
        if follow not in _ESCAPES or is_latex:
            return "\\", at + 1
        return _ESCAPES[follow], at + 2

    def _unicode(self, at: int) -> tuple[str, int]:
        r"""Decode a ``\uXXXX`` escape or a surrogate pair of them; a lone surrogate becomes U+FFFD."""
        digits = _UNICODE.match(self.text, at + 2)
        if digits is None:
            return "\\", at + 1
        code, position = int(digits.group(), 16), at + 6
        if 0xD800 <= code < 0xDC00 and self.text.startswith("\\u", position):
            low = _UNICODE.match(self.text, position + 2)
            if low is not None and 0xDC00 <= int(low.group(), 16) < 0xE000:
                return chr(0x10000 + ((code - 0xD800) << 10) + int(low.group(), 16) - 0xDC00), position + 6
        return ("\ufffd" if 0xD800 <= code < 0xE000 else chr(code)), position

    def _trivia(self, position: int) -> int:
        """Skip white space, commas and comments."""
        match = _TRIVIA.match(self.text, position)
        end = position if match is None else match.end()
        self._spend(end - position)
        return end

    def _peek(self, position: int) -> str:
        """Return the character here; at the end of the text the value cannot be finished."""
        if position >= len(self.text):
            raise _JsonError("the text ends inside it", len(self.text))
        return self.text[position]

    def _spend(self, characters: int) -> None:
        """Charge for characters looked at, which bounds the total work for any text."""
        self._budget -= characters
        if self._budget < 0:
            raise _JsonError("too tangled to read on", len(self.text))


def _bare_value(word: str) -> JsonValue:
    """Interpret a word without quotes: null, a whole number, or else text."""
    if word in {"null", "None"}:
        return None
    if len(word) <= 9 and word.isascii() and word.isdecimal():
        return int(word)
    return word
