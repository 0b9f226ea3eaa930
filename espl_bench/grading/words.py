# ruff: noqa: E501, SIM905  (tables of words)
r"""Compare short texts as SQuAD's evaluation does, with what its authors could not know of: LaTeX, dates, and numbers.

Normalisation: unicode's compositions and ligatures, lower case, no punctuation, no articles (a, an, the), single blanks. Accents count.
In numbers the point, the sign and the slash stay, thousands separators go, and dashes of every length are one. A month with day and
year is a date, whichever comes first. A text that normalisation would empty (the letter A) is compared without it.
"""

import re
import unicodedata
from typing import Final

_ARTICLES: Final = re.compile(r"\b(?:a|an|the)\b(?!\s*(?:(?:a|an|the)\b\s*)*$)")
"""An article stands before another word that is none."""
_LETTER_A: Final = re.compile(r"(?<=\S\s)(?:A(?=\s|$)|a$)")
"""The A of Vitamin A and Group A streptococcus is no article."""
_HYPHEN: Final = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_DASHES: Final = re.compile("[‐‑‒–—―−﹣－]")
_QUOTES: Final = str.maketrans(dict.fromkeys("“”„«»‘’‚`´", "'"))
_STYLE: Final = re.compile(r"\\(?:boxed|fbox|text(?:bf|it|rm|sf|tt|normal|sc)?|math(?:rm|bf|it|sf|tt)|emph|mbox|hbox)\s*+\{([^{}]*+)\}")
_TAG: Final = re.compile(r"</?[A-Za-z]{1,12}>|<\|[A-Za-z_]{1,16}\|>")
_MARKS: Final = re.compile(r"\*\*|__|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)|\\[,;:! ]|[$]|\\(?=[%&#])")
_WORDLIKE: Final = re.compile(r"[+\-]?(?:[0-9][0-9,]{0,60}+)?\.?[0-9]++(?:[./:][0-9]++)*+|[^\W_]++(?:['][^\W_]++)*+|[^\w\s]|_", re.UNICODE)
_THOUSANDS: Final = re.compile(r"(?<![0-9,])[0-9]{1,3}(?:,[0-9]{3})++(?![0-9,])")
_MONTHS: Final = "january february march april may june july august september october november december".split()
_DATE: Final = re.compile(
    rf"\b(?:(?P<month>{'|'.join(_MONTHS)}) (?P<day>[0-9]{{1,2}})|(?P<day2>[0-9]{{1,2}}) (?P<month2>{'|'.join(_MONTHS)}))(?: (?P<year>[0-9]{{4}}))?\b"
)
_SMALL: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS: Final = {word: 20 + 10 * place for place, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split())}
_SIGN_NAMES: Final = {"+": "plus", "#": "sharp"}
"""Punctuation that distinguishes names at the end of a word: C, C++ and C#."""
_MAX_STYLES: Final = 20


def unstyled(text: str) -> str:
    """Remove commands, tags and marks that only style a text."""
    for _ in range(_MAX_STYLES):
        plain = _STYLE.sub(r"\1", text)
        if plain == text:
            break
        text = plain
    return _MARKS.sub(" ", _TAG.sub("", text)).strip()


def normalised(text: str, hyphen: str = "") -> str:
    """Normalise a text for comparison; `hyphen` stands for one within a word."""
    text = _LETTER_A.sub("letter-a", unicodedata.normalize("NFKC", unstyled(text)).strip(" ."))
    text = _HYPHEN.sub(hyphen, _DASHES.sub("-", text.casefold().translate(_QUOTES)))
    text = _THOUSANDS.sub(lambda number: number.group().replace(",", ""), text)
    kept = [_kept(piece, text) for piece in _WORDLIKE.finditer(text)]
    bare = " ".join(_ARTICLES.sub(" ", "".join(kept)).split())
    return _DATE.sub(_dated, bare)


def worded_number(text: str) -> int | None:
    """Return the number that words name, up to a hundred: ``sixteen``, ``twenty-one``; None if they name none."""
    words = text.casefold().replace("-", " ").split()
    if len(words) == 1:
        word = words[0]
        return _SMALL.index(word) if word in _SMALL else 100 if word == "hundred" else _TENS.get(word)
    if len(words) == 2 and words[0] in _TENS and words[1] in _SMALL[1:10]:
        return _TENS[words[0]] + _SMALL.index(words[1])
    return None


def same_words(given: str, truth: str) -> bool:
    """Return True if two texts say the same words in the same order."""
    if normalised(truth):
        return any(normalised(given, hyphen) == normalised(truth, hyphen) for hyphen in ("", " "))
    return unstyled(given).casefold() == unstyled(truth).casefold() != ""


def _kept(piece: re.Match[str], text: str) -> str:
    """Return what is compared of one word, number, or mark; white space before it is kept."""
    word = piece.group()
    gap = " " if piece.start() and text[piece.start() - 1].isspace() else ""
    if any(char.isdigit() for char in word):
        before = text[piece.start() - 1 : piece.start()]
        signed = word[0] in "+-" and bool(before) and not before.isspace() and before not in "([{'\"="
        number = word[1:] if signed or word[0] == "+" else word
        if signed and before.isdigit():  # a span of years
            return f" to {number}"
        return gap + number
    if word[0].isalnum():
        return gap + word.replace("'", "")
    if word in _SIGN_NAMES and piece.start() and (text[piece.start() - 1].isalnum() or text[piece.start() - 1] == word):
        return f" {_SIGN_NAMES[word]}"
    return gap


def _dated(date: re.Match[str]) -> str:
    day, month = date["day"] or date["day2"], date["month"] or date["month2"]
    return " ".join(filter(None, (month, str(int(day)), date["year"])))
