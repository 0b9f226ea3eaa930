r"""Clean texts for storage and compare them, at three levels, each for one purpose.

1. `clean` makes the text that is stored and shown. It changes what carries no meaning and repairs what is known to be damaged:
   white space at both ends is removed; line ends become ``\n``; a LaTeX command whose first letters were once read as an escape
   sequence is restored (in copies of DAPO-Math-17k ``\frac`` is written as a form feed and ``rac``); any other control
   character but tab and line end becomes a space; what UTF-8 cannot encode becomes U+FFFD. Nothing else changes.
2. `folded` decides whether two copies are the same set: every run of white space is one space. `identity_of` hashes it.
3. `match_key` decides whether two problems are the same problem: letters and digits alone, without case or LaTeX styling.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DAMAGED: Final = {"\x0crac": r"\frac", "\x08eta": r"\beta"}
"""Text that an escape sequence made of a LaTeX command → the command. Only those found in a data set."""

_DAMAGE = re.compile("|".join(map(re.escape, DAMAGED)))
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_STYLE = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|(?:over|under)line|text(?:bf|it|rm)?|math(?:rm|bf|it|bb|cal)|operatorname|displaystyle"
    r"|emph|q?quad|begin|end|[cl]?dots)(?![A-Za-z])"
)
_FRACTION = re.compile(r"\\[cdt]frac(?![A-Za-z])")
_ALPHANUMERIC = re.compile(r"[^\W_]+")
_ASCII_REST = bytes(code for code in range(128) if not chr(code).isalnum())
_WORD = re.compile(r"\\[A-Za-z]+|[A-Z]?[a-z]{2,}|[0-9]+|[A-Za-z]|[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Item:
    """One problem of a data set."""

    problem: str
    answer: str
    row: int
    """Its row in the file or on the hub, counted from 0; of repeated rows, the first."""


def clean(text: str) -> str:
    """Return the text as it is stored and shown."""
    text = _SURROGATE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROL.sub(" ", _DAMAGE.sub(lambda match: DAMAGED[match[0]], text)).strip()


def is_blank(text: str) -> bool:
    """Return True if nothing is left of a text once it is cleaned; mostly without cleaning it."""
    bare = text.strip()
    return not bare or (not bare[0].isprintable() and not clean(bare))


def repairs(text: str) -> int:
    """Count the damaged LaTeX commands that `clean` restores in a text."""
    return len(_DAMAGE.findall(text))


def folded(text: str) -> str:
    """Replace every run of white space by one space."""
    return " ".join(text.split())


def identity_of(items: Iterable[Item]) -> str:
    """Return the SHA-256 over problems and answers, white space folded, in order.

    The order counts, because it decides which item has which index. Row numbers do not: a copy with every prompt a hundred
    times has the identity of the copy without repetitions.
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps([folded(item.problem), folded(item.answer)], ensure_ascii=True).encode("ascii") + b"\n")
    return digest.hexdigest()


def match_key(text: str) -> str:
    """Return a key that is equal for texts that differ only in white space, punctuation, case and LaTeX styling."""
    plain = _plain(text).casefold()
    if plain.isascii():  # ten times faster, and true of nearly every problem
        return plain.encode("ascii").translate(None, _ASCII_REST).decode("ascii")
    return "".join(_ALPHANUMERIC.findall(plain))


def words(text: str) -> list[str]:
    """Split a problem into words for n-grams: ``ABCD`` and ``A B C D`` are both four, ``2n`` is two, a LaTeX command is one."""
    return [word.casefold() for word in _WORD.findall(_plain(text)) if word[0] == "\\" or word.isalnum()]


def _plain(text: str) -> str:
    """Normalise to compatibility forms, and remove styling of formulas."""
    return _FRACTION.sub(lambda _: r"\frac", _STYLE.sub(" ", unicodedata.normalize("NFKC", text)))
