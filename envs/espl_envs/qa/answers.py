"""Compare short answers as SQuAD's evaluation does, with numbers, dashes and accents as people mean them.

SQuAD's normalisation: lower case, no punctuation, no articles (a, an, the), single blanks. It is made for answers copied out of a
passage; for answers that a model writes freely, these differ from it:

1. Characters of one meaning are one: compatibility forms (NFKC: full-width letters, ligatures, ``½``), every dash is ``-``, and accents on
   Latin letters do not count (``Beyoncé``). Quotation marks of every kind are punctuation.
2. A dash between words or numbers separates them: ``1914–18`` is ``1914 18``, ``well-known`` is ``well known``.
3. A number is its value: ``1,000`` is ``1000``, ``3.0`` is ``3``, ``007`` is ``7``. Its decimal point and a minus before it count, which
   SQuAD drops: ``3.14`` is not ``314``, ``-5`` is not ``5``. Names of whole numbers up to twenty are numbers.
"""

import re
import unicodedata
from typing import Final

from espl_envs.search.answers import compared, without_articles

_DASHES: Final = re.compile("[\u2010-\u2015\u2212\u2e3a\u2e3b\ufe58\ufe63\uff0d]")
_ACCENT: Final = re.compile(r"(?<=[A-Za-z])[\u0300-\u036f]+")
_NUMBER: Final = re.compile(r"(?<![\w.,])(?P<sign>-?)(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?:\.(?P<fraction>\d+))?(?![\w]|[.,]\d)")
_GROUPED: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BETWEEN: Final = re.compile(r"(?<=\d)[^\w\s](?=\d)")
_PUNCTUATION: Final = re.compile(r"[^\w\s]|_")
_NAMES: Final = {
    name: str(value)
    for value, name in enumerate(
        (
            *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"),
            *("fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
        )
    )
}


def normalised(text: str) -> str:
    """Normalise a text for comparison."""
    plain = _ACCENT.sub("", unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))).lower()
    plain = _DASHES.sub("-", unicodedata.normalize("NFC", plain))
    words: list[str] = []
    place = 0
    for number in _NUMBER.finditer(plain):
        words += _words(plain[place : number.start()])
        words.append(_value(number))
        place = number.end()
    return without_articles(" ".join((*words, *_words(plain[place:]))))


def same(given: str, truth: str) -> bool:
    """Return True if both texts say the same."""
    ours, theirs = compared(given, truth, normalised)
    return ours == theirs != ""


def _words(text: str) -> list[str]:
    """Split at blanks, dashes and what stands between digits, and drop other punctuation: ``don't`` is ``dont``, ``6:00`` is ``6 00``."""
    parts = _BETWEEN.sub(" ", _GROUPED.sub("", text).replace("-", " ")).split()
    bare = (_PUNCTUATION.sub("", part) for part in parts)
    return [_NAMES.get(word, word) for word in bare if word]


def _value(number: re.Match[str]) -> str:
    whole = number["whole"].replace(",", "").lstrip("0") or "0"
    fraction = (number["fraction"] or "").rstrip("0")
    value = f"{whole}.{fraction}" if fraction else whole
    return f"-{value}" if number["sign"] and value != "0" else value
