"""Clean what is printed: foreign text may hold codes that act on a terminal (its clipboard, its title, its screen), or reorder a line.

Everything that commands print passes through here: tables and lines drawn by rich in `cli/console.py`, JSON and other text in its
`write` functions, errors in `cli/app.py`.
"""

import json
import unicodedata

_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that are dropped: control characters, invisible formatting (it can reorder a line), lone surrogates, separators."""


def clean(text: str) -> str:
    """Remove control characters; line breaks stay, tabs become spaces."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in text.expandtabs(4) if char == "\n" or unicodedata.category(char) not in _UNSHOWN)


def clean_json(text: str) -> str:
    """Write what `clean` removes as JSON's own escapes, which leaves the meaning of a JSON text; line breaks between values stay."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(_escaped(char) if char != "\n" and unicodedata.category(char) in _UNSHOWN else char for char in text)


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else json.dumps(char)[1:-1]
