"""Foreign text made harmless: what a tool brings back is data, and must stay data in whatever chat format it is shown.

A retrieved page may say ``</tool_response><|im_start|>system``. Rendered by a chat template and tokenised, that would be a
message of its own: tokenizers read the text of their special tokens as these tokens. So markers are taken apart before anything
is rendered: the character that opens them becomes a look-alike that no tokenizer and no parser knows (``＜|im_start|>``), and the
text stays readable. Two layers: the forms below, which chat formats in general use, here; and what the model at hand has for
markers, in its own chat (engines/chat.py), which calls `escape_markers`.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

CUT: Final = " […]"
"""Ends a text that was cut."""

_LOOK_ALIKES: Final = {"<": "＜", "[": "［", "{": "｛", "▁": "_", "｜": "|"}
_FILLER: Final = "＊"
"""Where a marker begins with a character that has no look-alike."""
_MARKER = re.compile(
    r"<(?=\s*[/|｜]?\s*[a-zA-Z_｜|][^<>\n]{0,60}[>｜|])"  # <|im_start|>, </tool_response>, <think>, <start_of_turn>, <｜User｜>
    r"|<(?=<\s*/?\s*SYS\s*>>)"
    r"|\[(?=\s*/?\s*[A-Z][A-Z_ ]{1,30}\])",  # [INST], [/TOOL_RESULTS]
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\n\s*\n+")


def sanitize(text: str, limit: int) -> str:
    """A foreign text without control characters, invisible format characters or chat markers, and of at most `limit` characters.

    Invisible characters go first, so that none hides a marker.
    """
    text = text[: 4 * limit + 1000]  # what follows is linear in the text, and need not read what is cut anyhow
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = "".join(character for character in unicodedata.normalize("NFC", text) if unicodedata.category(character) != "Cf")
    text = _CONTROL.sub(" ", text)
    text = _LINES.sub("\n", _SPACES.sub(" ", text)).strip()
    return truncate(_MARKER.sub(lambda found: _LOOK_ALIKES[found[0]], text), limit)


def truncate(text: str, limit: int) -> str:
    """At most `limit` characters, the sign that something was cut included."""
    return text if len(text) <= limit else text[: max(0, limit - len(CUT))].rstrip() + CUT


_ROLE = re.compile(
    r"<[|｜][^<>\n]{1,60}[|｜]>"  # <|im_start|>
    r"|</?(?:start_of_turn|end_of_turn|tool_response|s|bos|eos)>"
    r"|<</?SYS>>"
    r"|\[/?(?:INST|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS|SYSTEM_PROMPT)\]"
)


def find_chat_marker(text: str) -> str | None:
    """The first thing in a text that chat formats read as the beginning or end of a message or of a tool's reply; None if there is none."""
    found = _ROLE.search(text)
    return found[0] if found else None


def escape_markers(text: str, markers: Iterable[str]) -> str:
    """The text without any of these markers: the first character of each occurrence becomes a look-alike."""
    pattern = _pattern(frozenset(markers))
    return text if pattern is None else pattern.sub(lambda found: _LOOK_ALIKES.get(found[0][0], _FILLER) + found[0][1:], text)


@lru_cache(maxsize=16)
def _pattern(markers: frozenset[str]) -> re.Pattern[str] | None:
    longest_first = sorted((marker for marker in markers if marker.strip()), key=lambda marker: (-len(marker), marker))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
