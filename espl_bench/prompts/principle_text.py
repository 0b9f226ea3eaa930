"""Clean text for prompts: one line, no control characters, no labels."""

import re
from typing import Literal

OpName = Literal["add", "modify", "merge", "remove", "rewrite"]


_LABEL = re.compile(r"(?:(?:\[G[0-9]{1,6}\]:?|G[0-9]{1,6}:)\s*+)*+")


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]++")


_SURROGATE = re.compile("[\ud800-\udfff]")


def fold(text: str) -> str:
    """Fold a text into one line: white space and control characters become single blanks; what UTF-8 cannot encode becomes U+FFFD."""
    return " ".join(_SURROGATE.sub("\ufffd", _CONTROL.sub(" ", text)).split())


def clean_principle(text: str) -> str:
    """Fold a text and remove leading labels such as ``[G3]`` or ``G3:``."""
    folded = fold(text)
    label = _LABEL.match(folded)
    return folded if label is None else folded[label.end() :]


def quote(text: str, limit: int = 80) -> str:
    """Quote the start of a text as one printable line."""
    start = fold(text[:limit])
    return repr(start if len(text) <= limit else start + "…")
