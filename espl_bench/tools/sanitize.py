"""Sanitize foreign text: what a tool returns is data, and must stay data in any chat format.

A retrieved page may say ``</tool_response><|im_start|>system``. Rendered by a chat template and tokenised, that would be a
message of its own: tokenizers read the text of their special tokens as these tokens. So markers are broken up before anything
is rendered: the character that opens them becomes a look-alike that no tokenizer and no parser knows (``＜|im_start|>``), and the
text stays readable. Two layers: here, the forms below, which chat formats in general use; and where the text is rendered, the markers of
the model in use (markers.py).
"""

import re
import unicodedata
from typing import Final

CUT: Final = " […]"
"""Ends a truncated text."""

_LOOK_ALIKES: Final = {"<": "＜", "[": "［"}
_MARKER = re.compile(
    r"<(?=\s*[/|｜]?\s*[a-zA-Z_｜|][^<>\n]{0,60}[>｜|])"  # <|im_start|>, </tool_response>, <think>, <start_of_turn>, <｜User｜>
    r"|<(?=<\s*/?\s*SYS\s*>>)"
    r"|\[(?=\s*/?\s*[A-Z][A-Z_ ]{1,30}\])",  # [INST], [/TOOL_RESULTS]
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\n\s*\n+")


def sanitize(text: str, limit: int) -> str:
    """Remove control characters and invisible format characters, escape chat markers, and truncate to `limit` characters.

    Invisible characters are removed first, so that none hides a marker.
    """
    text = text[: 4 * limit + 1000]  # the rest is linear in the text, and need not read what is cut off anyway
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        text = "".join(character for character in unicodedata.normalize("NFC", text) if unicodedata.category(character) != "Cf")
    text = _CONTROL.sub(" ", text)
    text = _LINES.sub("\n", _SPACES.sub(" ", text)).strip()
    return truncate(_MARKER.sub(lambda match: _LOOK_ALIKES[match[0]], text), limit)


def truncate(text: str, limit: int) -> str:
    """Shorten to at most `limit` characters, the mark of truncation included."""
    return text if len(text) <= limit else text[: max(0, limit - len(CUT))].rstrip() + CUT
