r"""Rewrite tokens so that what is written in several ways is one: words within groups, units, connectives, currencies, primes.

Nothing is lost here: a rewriting keeps what the text says, and what is not known stays as it is.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Final

from espl_bench.grading.functions import PLAIN_CONSTANTS
from espl_bench.grading.notation import Token, UnreadableError, tokens
from espl_bench.grading.notation_tables import FUNCTIONS, SYMBOLS
from espl_bench.grading.token_runs import matching
from espl_bench.grading.worded_numbers import SCALES, worded_number

_CONNECTIVES: Final = {
    "and": "and",
    "or": "or",
    "且": "and",
    "或": "or",
    "和": "and",
    "与": "and",
    "或者": "or",
    "及": "and",
    "&": "and",
} | {
    "as well as": "and",
    "and also": "and",
}
_PERCENT: Final = ("percent", "per cent", "pct", "%")
_LEAST_NOUN: Final = 4
"""Letters from which on a bare word behind a number and a blank is a noun, and no product."""
_SHORT_NOUNS: Final = frozenset(
    ["men", "pts", "day", "cup", "cat", "dog", "egg", "pen", "car", "bus", "box", "chf", "inr", "usd", "min", "sec", "hrs"]
)
_JOINING: Final = frozenset(("per", "sq", "cu", "of", "in", "cm", "mm", "km", "ft", "hr", "yd", "mi"))
"""Short words that may stand before or behind a noun."""
_AT_LAST: Final = (".",)
_PLAIN_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,4})?")


def rewritten(found: Sequence[Token]) -> list[Token]:
    """Apply all rewritings, in order."""
    for rewrite in _REWRITINGS:
        found = rewrite(found)
    return list(found)


def spelled_out(found: Sequence[Token], unwrap: Callable[[str], str], grouped: bool) -> list[Token]:
    """Cut words that hold a number once more: ``3:30 PM``, ``(C) 12`` and ``42 ways``, even if set as text, are no words alone."""
    out: list[Token] = []
    for token in found:
        inside = _cut_again(token, unwrap, grouped) if token.kind == "words" else None
        out.extend((token,) if inside is None else inside)
    return out


def _cut_again(token: Token, unwrap: Callable[[str], str], grouped: bool) -> list[Token] | None:
    """Return the tokens of a text that holds a number: longer letters in it are words; None if it is text alone."""
    if not any(char in "0123456789" for char in token.text):
        return None
    try:
        found = tokens(unwrap(token.text), grouped)
    except UnreadableError:
        return None
    begin = [Token(part.kind, part.text, token.spaced) for part in found[:1]]
    return [_word_of_text(before, part) for before, part in pairwise((Token("end", ""), *begin, *found[1:]))]


def _word_of_text(before: Token, token: Token) -> Token:
    if token.kind != "letters" or _is_mathematical(token.text):
        return token
    unit = len(token.text) == 1 and token.spaced and before.kind == "num"
    return Token("words", token.text, token.spaced) if len(token.text) > 1 or unit else token


def _is_mathematical(letters: str) -> bool:
    return letters in PLAIN_CONSTANTS or letters in FUNCTIONS or letters == "sqrt" or (letters in SYMBOLS and len(letters) > 1)


def _inner_words(found: Sequence[Token]) -> list[Token]:
    """Flatten groups that hold only words, so that styled words are words."""
    out: list[Token] = []
    place = 0
    found = list(found)
    while place < len(found):
        token = found[place]
        if token.text == "{" and token.kind == "open" and (not out or out[-1].text not in ("^", "_", "sqrt", "frac", "binom", "}")):
            end = matching(found, place)
            inside = found[place + 1 : end]
            before = out[-1] if out else None
            command = before is not None and before.kind == "cmd"
            if inside and not command and len(inside) == 1 and inside[0].kind == "words":
                out.append(Token(inside[0].kind, inside[0].text, token.spaced))
                place = end + 1
                continue
        out.append(token)
        place += 1
    return out


def _unit_fractions(found: Sequence[Token]) -> list[Token]:
    r"""Write ``\frac{\text{m}}{\text{s}}`` behind an amount as ``m/s``."""
    out: list[Token] = []
    place = 0
    while place < len(found):
        end = _unit_fraction_end(found, place) if out else None
        if end is None:
            out.append(found[place])
            place += 1
            continue
        middle = matching(found, place + 1)
        out.extend(found[place + 2 : middle])
        out.append(Token("op", "/"))
        out.extend(found[middle + 2 : end])
        place = end + 1
    return out


def _unit_fraction_end(found: Sequence[Token], place: int) -> int | None:
    """Return the place of the brace that closes a fraction of two units which begins here; None if there is none."""
    if (found[place].kind, found[place].text) != ("cmd", "frac") or place + 2 >= len(found) or found[place + 1].text != "{":
        return None
    middle = matching(found, place + 1)
    if middle + 2 >= len(found) or found[middle + 1].text != "{":
        return None
    end = matching(found, middle + 1)
    both = (found[place + 2 : middle], found[middle + 2 : end])
    return end if all(side and side[0].kind == "words" for side in both) else None


def _plain_primes(found: Sequence[Token]) -> list[Token]:
    r"""Take ``^{\prime}`` for a prime, and empty groups away."""
    out: list[Token] = []
    place = 0
    while place < len(found):
        texts = [token.text for token in found[place : place + 5]]
        primes = next((n for n in (1, 2, 3) if texts[:2] == ["^", "{"] and texts[2 : 3 + n] == ["'"] * n + ["}"]), 0)
        if primes:
            out.extend([Token("op", "'")] * primes)
            place += 3 + primes
        elif texts[:3] == ["{", "}", "^"] and out and "deg" in (texts[3:4] or [""])[0] + (texts[4:5] or [""])[0]:
            place += 2
        else:
            out.append(found[place])
            place += 1
    return out


def _connected(found: Sequence[Token]) -> list[Token]:
    """Turn the words for and, or, to, percent, times and minus into operators."""
    out: list[Token] = []
    for place, token in enumerate(found):
        word = token.text.strip(" ,;").lower() if token.kind in ("words", "letters") else ""
        after = found[place + 1] if place + 1 < len(found) else Token("end", "")
        if word == "to" and len(found) == 3 and found[0].kind == found[2].kind == "num":
            out.append(Token("op", ":", token.spaced))
        elif word in _PERCENT or (word == "cent" and out and out[-1].text == "per"):
            if word == "cent":
                out.pop()
            out.append(Token("op", "%", token.spaced))
        elif token.kind == "words" and word in PLAIN_CONSTANTS:
            out.append(Token("letters", word, token.spaced))
        elif word in ("constant", "const", "const.") and out and out[-1].text in ("+", "-"):
            out.append(Token("letters", "C", token.spaced))
        elif word in _CONNECTIVES and (token.kind == "words" or (token.spaced and len(word) > 1)):
            out.append(Token("op", _CONNECTIVES[word], token.spaced))
        elif word in ("negative", "minus") and after.kind == "num":
            out.append(Token("op", "-", token.spaced))
        elif word == "x" and token.spaced and out and out[-1].kind == "num" and [after.text, *_texts(found, place + 2, 1)] == ["10", "^"]:
            out.append(Token("op", "*", token.spaced))
        else:
            out.append(token)
    return out


def _texts(found: Sequence[Token], begin: int, number: int) -> list[str]:
    return [token.text for token in found[begin : begin + number]]


def _bare_nouns(found: Sequence[Token]) -> list[Token]:
    """Take letters behind a number and a blank for words: ``12 apples``, ``12 square units``, ``7 miles per hour``."""
    out: list[Token] = []
    noun = False
    for place, token in enumerate(found):
        bare = token.kind == "letters" and token.spaced and not _is_mathematical(token.text)
        if bare and (noun or (out and _ends_number(out[-1]))) and _noun_like(found, place, noun):
            out.append(Token("words", token.text, True))
            noun = True
        elif noun and token.kind == "op" and token.text in _AT_LAST and not token.spaced and place + 1 < len(found):
            continue  # the point of an abbreviation
        else:
            out.append(token)
            noun = noun and token.kind == "words"
    return out


def _ends_number(token: Token) -> bool:
    return token.kind == "num" or token.text == "pi" or (token.kind == "close" and token.text == "}")


def _noun_like(found: Sequence[Token], place: int, noun: bool) -> bool:
    """Return True for a word that is no product of variables: a long one, or a short one next to a noun."""
    token = found[place]
    after = found[place + 1] if place + 1 < len(found) else Token("end", "")
    if after.kind == "op" and after.text == "." and place + 2 < len(found):
        after = found[place + 2]
    if after.kind == "open" or after.text in ("_", "'") or (after.kind == "num" and not after.spaced):
        return False
    if token.text in _JOINING:
        return noun or (token.text in ("sq", "cu") and after.kind == "letters")
    if token.text[0].isupper() and token.text.lower() not in _SHORT_NOUNS:
        return False
    return (len(token.text) >= _LEAST_NOUN or token.text.lower() in _SHORT_NOUNS) and token.text.lower() not in ("and", "mod", "base")


def _merged_words(found: Sequence[Token]) -> list[Token]:
    """Join words that stand together."""
    out: list[Token] = []
    for token in found:
        if token.kind == "words" and out and out[-1].kind == "words" and worded_number(token.text) is None:
            out[-1] = Token("words", f"{out[-1].text.rstrip()} {token.text.lstrip()}", out[-1].spaced)
        else:
            out.append(token)
    return out


def _scaled(found: Sequence[Token]) -> list[Token]:
    """Multiply a number by the word behind it: ``1.5 million dollars`` is ``1500000 dollars``."""
    out: list[Token] = []
    for token in found:
        first, _, rest = token.text.strip().partition(" ") if token.kind in ("words", "letters") else ("", "", "")
        scale = SCALES.get(first.lower())
        if scale is None or not out or out[-1].kind != "num" or not _PLAIN_NUMBER.fullmatch(out[-1].text):
            out.append(token)
            continue
        value = Fraction(out[-1].text) * scale
        out[-1] = Token("num", str(value) if value.denominator == 1 else str(float(value)), out[-1].spaced)
        if rest:
            out.append(Token("words", rest, True))
    return out


_REWRITINGS: Final = (_inner_words, _unit_fractions, _plain_primes, _connected, _bare_nouns, _merged_words, _scaled)
