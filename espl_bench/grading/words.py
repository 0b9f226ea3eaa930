# ruff: noqa: E501, SIM905  (tables of words)
r"""Compare short texts as SQuAD's evaluation does, with what its authors could not know of: LaTeX, dates, and numbers.

SQuAD's normalisation is lower case, no punctuation, no articles (a, an, the), single blanks. It is made for answers copied out of a
passage; for answers that a model writes freely, these differ from it:

1. What only styles is removed: LaTeX, Markdown, tags, entities, end tokens. What is struck out is no answer.
2. Characters of one meaning are one: compositions, compatibility forms (NFKC), dashes and quotation marks of every kind. Accents count.
3. A hyphen within a word may be missing, or be a blank. A dash between numbers means ``to``.
4. A number is its value: ``1,000`` is ``1000``, ``3.0`` is ``3``, ``twelve`` is ``12``. Its point, sign and slash, and marks such as ``<``
   before it, count, which SQuAD drops: ``3.14`` is not ``314``. Other punctuation between digits separates them.
5. A month with day and year is a date, whichever comes first.
6. The letter A is no article where it ends a name or stands before punctuation: ``Vitamin A``, ``A, B``.

A text that normalisation would empty is compared without it.
"""

import html
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from espl_bench.grading.worded_numbers import SMALL_NUMBERS, worded_number

_ARTICLES: Final = frozenset({"a", "an", "the"})
_LETTER_A: Final = re.compile(r"(?<=\S\s)(?:A(?=\s|$)|a$)|(?<!\w)[Aa](?=\s?[,;:/&+*)\]-]|\s[A-Za-z](?!\w))")
"""The A of Vitamin A, of Group A streptococcus and of a list is no article."""
_HYPHEN: Final = re.compile(r"(?<=[^\W\d_])-(?=\w)|(?<=\w)-(?=[^\W\d_])")
_OUTER_POINTS: Final = re.compile(r"^[ .]+(?![0-9])|^ +|[ .]+$")
"""Points around a text, but not that of ``.75``."""
_TENS_AND_ONES: Final = re.compile(
    rf"\b(?:{'|'.join(word for word, value in SMALL_NUMBERS.items() if value >= 20)})(?: ?- ?| )(?:{'|'.join(list(SMALL_NUMBERS)[1:10])})\b",
    re.IGNORECASE,
)
_DASHES: Final = re.compile("[‐‑‒–—―−﹣－]")
_QUOTES: Final = str.maketrans(dict.fromkeys("“”„«»‘’‚`´", "'"))
_STYLE: Final = re.compile(
    r"\\(?:boxed|fbox|text(?:bf|it|rm|sf|tt|normal|sc|up)?|math(?:rm|bf|it|sf|tt)|emph|mbox|hbox|underline|boldsymbol)\s*+\{([^{}]*+)\}"
)
_TAG: Final = re.compile(r"</?[A-Za-z]{1,12}>|<\|[A-Za-z_]{1,16}\|>")
_MARKS: Final = re.compile(r"\*\*|__|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)|\\[,;:! ]|\\[()\[\]]|[$]|(?<=\w)~(?=\w)|^\s*+(?:#{1,6}|>)(?=\s)")
_EMPHASIS: Final = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]{1,500})(?<=\S)\*(?![\w*])")
"""Words between single asterisks. A lone one belongs to a name: ``A*``."""
_ESCAPES: Final = re.compile(r"\\(?=[%&#$_])")
_STRUCK_OUT: Final = re.compile(r"~~[^~]*+~~")
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,6}|[A-Za-z]{2,8});")
_WORDLIKE: Final = re.compile(r"[+\-]?(?:[0-9][0-9,]{0,60}+)?\.?[0-9]++(?:[./:][0-9]++)*+|[^\W_]++(?:['][^\W_]++)*+|[^\w\s]|_", re.UNICODE)
_THOUSANDS: Final = re.compile(r"(?<![0-9,])[0-9]{1,3}(?:,[0-9]{3})++(?![0-9,])")
MONTHS: Final = "january february march april may june july august september october november december".split()
_DATE: Final = re.compile(
    rf"\b(?:(?P<month>{'|'.join(MONTHS)}) (?P<day>[0-9]{{1,2}})|(?P<day2>[0-9]{{1,2}}) (?P<month2>{'|'.join(MONTHS)}))(?: (?P<year>[0-9]{{4}}))?\b"
)
_VALUE: Final = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]*+)(?:\.(?P<fraction>[0-9]++))?")
_SIGN_NAMES: Final = {"+": "plus", "#": "sharp", "-": "minus", "*": "star"}
"""Punctuation that distinguishes names at the end of a word: C, C++ and C#."""
_BEFORE_NUMBERS: Final = "±<>≤≥≈~"
"""Marks that change a number behind them."""
_MAX_STYLES: Final = 20
_MOST_MARKS: Final = 1_000
_TIMES: Final = 20
"""A text is longer than another one of the same words by at most so many characters, and so many times."""


def unstyled(text: str) -> str:
    """Remove commands, tags and marks that only style a text, and what is struck out."""
    text = _STRUCK_OUT.sub("", html.unescape(text) if _ENTITY.search(text) else text)
    for _ in range(_MAX_STYLES):
        plain = _STYLE.sub(r"\1", text)
        if plain == text:
            break
        text = plain
    return _ESCAPES.sub("", _EMPHASIS.sub(r"\1", _MARKS.sub(" ", _TAG.sub("", text)))).strip()


def normalised(text: str, hyphen: str = "") -> str:
    """Normalise a text for comparison; `hyphen` stands for one within a word."""
    text = _LETTER_A.sub("letter-a", _OUTER_POINTS.sub("", unicodedata.normalize("NFKC", unstyled(text))))
    text = _TENS_AND_ONES.sub(lambda number: str(worded_number(number.group())), text)
    text = _HYPHEN.sub(hyphen, _DASHES.sub("-", text.casefold().translate(_QUOTES)))
    text = _THOUSANDS.sub(lambda number: number.group().replace(",", ""), text)
    kept = [_kept(piece, text) for piece in _WORDLIKE.finditer(text)]
    return _DATE.sub(_dated, " ".join(_without_articles("".join(kept).split())))


def _without_articles(words: Sequence[str]) -> list[str]:
    """Leave out articles. One behind which no other word comes is none."""
    end = len(words)
    while end and words[end - 1] in _ARTICLES:
        end -= 1
    return [word for word in words[:end] if word not in _ARTICLES] + list(words[end:])


def same_words(given: str, truth: str) -> bool:
    """Return True if two texts say the same words in the same order.

    A text that is many times longer says more: no style, article or mark of a real answer takes so much.
    """
    if given == truth:
        return unstyled(truth) != ""
    shorter, longer = sorted(map(len, (given, truth)))
    if longer > _MOST_MARKS + _TIMES * shorter:
        return False
    if normalised(truth):
        return any(normalised(given, hyphen) == normalised(truth, hyphen) for hyphen in ("", " "))
    return unstyled(given).casefold() == unstyled(truth).casefold() != ""


def _kept(piece: re.Match[str], text: str) -> str:
    """Return what is compared of one word, number, or mark; white space before it is kept."""
    word = piece.group()
    before, after = text[piece.start() - 1 : piece.start()] if piece.start() else "", text[piece.end() : piece.end() + 1]
    gap = " " if before.isspace() else ""
    if any(char.isdigit() for char in word):
        return _kept_number(word, before, gap)
    if word[0].isalnum():
        alone = not before.isalnum() and not after.isalnum()
        return gap + (str(SMALL_NUMBERS[word]) if alone and word in SMALL_NUMBERS else word.replace("'", ""))
    if word in _SIGN_NAMES and (before.isalnum() or before == word) and not after.isalnum():
        return f" {_SIGN_NAMES[word]}"
    if before.isdigit() and after.isdigit():
        return " "
    return f"{gap}{word}" if word in _BEFORE_NUMBERS and (after.isdigit() or after in ".-") and after else gap


def _kept_number(word: str, before: str, gap: str) -> str:
    """Return a number by its value. A sign behind a word or number is a hyphen or a dash."""
    signed = word[0] in "+-" and bool(before) and not before.isspace() and before not in "([{'\"=<>≤≥≈~"
    number = word[1:] if signed or word[0] == "+" else word
    if (value := _VALUE.fullmatch(number)) is not None:
        whole, fraction = value["whole"].lstrip("0") or "0", (value["fraction"] or "").rstrip("0")
        number = f"{value['sign']}{whole}{'.' if fraction else ''}{fraction}" if (whole, fraction) != ("0", "") else "0"
    return f" to {number}" if signed and before.isdigit() else gap + number


def _dated(date: re.Match[str]) -> str:
    day, month = date["day"] or date["day2"], date["month"] or date["month2"]
    return " ".join(filter(None, (month, str(int(day)), date["year"])))
