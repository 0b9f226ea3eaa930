"""Numbers and formulas without a unit: decimals with their digits, powers of ten, progressions, digits in a base."""

import itertools
import re
from collections.abc import Sequence
from typing import Final

from espl_bench.grading.conventions import USUAL, Conventions
from espl_bench.grading.expressions import expression
from espl_bench.grading.functions import exact_number, sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.readings import InBase, Scalar
from espl_bench.grading.token_runs import split, split_points

_BASE_WORDS: Final = {
    **{"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12, "sixteen": 16},
    **{"binary": 2, "octal": 8, "decimal": 10, "hex": 16, "hexadecimal": 16, "ternary": 3},
}
_PREFIXED: Final = re.compile(r"0(?P<prefix>[box])(?P<digits>[0-9A-Fa-f]{1,100})")
_PREFIXES: Final = {"b": 2, "o": 8, "x": 16}
_MOST_TERMS: Final = 1000


def scalar(found: Sequence[Token], by: Conventions = USUAL) -> Scalar:
    """Read a number or a formula. Raises UnreadableError."""
    found = list(found)
    unfinished = len(found) >= 2 and found[-1] == Token("op", "dots", found[-1].spaced)
    bare = found[:-1] if unfinished else found
    signs = 0
    while signs < len(bare) - 1 and bare[signs].kind == "op" and bare[signs].text in "+-":
        signs += 1
    if len(bare) == signs + 1 and bare[-1].kind == "num":
        number = bare[-1].text
        negative = sum(token.text == "-" for token in bare[:signs]) % 2
        value = exact_number(number)
        mantissa, _, exponent = number.partition("e")
        point = "." in mantissa and "(" not in mantissa
        if unfinished and not point:
            raise UnreadableError("a list that goes on")
        decimals = len(mantissa.partition(".")[2]) - int(exponent or 0) if point else None
        digits = len(mantissa.replace(".", "").lstrip("0"))
        return Scalar(-value if negative else value, decimals, digits, unfinished=unfinished)
    power = _scientific(bare)
    if power is not None:
        return power
    if any(token.kind == "op" and token.text == "dots" for token in found):
        return Scalar(_progression(found))
    return Scalar(expression(found, by))


def _scientific(found: Sequence[Token]) -> Scalar | None:
    """Read ``6.63 * 10^{-34}`` as a decimal with its digits; None if it is anything else."""
    negative = bool(found) and found[0].text == "-"
    rest = list(found[1:] if negative else found)
    if len(rest) < 5 or rest[0].kind != "num" or "." not in rest[0].text or [token.text for token in rest[1:4]] != ["*", "10", "^"]:
        return None
    exponent = expression(rest[4:])
    if not exponent.is_Integer or abs(exponent) > 1000:
        return None
    value = exact_number(rest[0].text) * sympy.Integer(10) ** exponent
    decimals = len(rest[0].text.partition(".")[2]) - int(exponent)
    return Scalar(-value if negative else value, decimals, len(rest[0].text.replace(".", "").lstrip("0")))


def _progression(found: Sequence[Token]) -> object:
    """Add up ``1 + 2 + … + 10``, or multiply: an arithmetic progression of whole numbers with both ends."""
    for sign in ("+", "*"):
        parts = split(found, sign)
        if len(parts) < 4 or sum(part == [Token("op", "dots", part[0].spaced)] for part in parts if part) != 1:
            continue
        place = next(n for n, part in enumerate(parts) if part and part[0].text == "dots")
        if place != len(parts) - 2 or place < 2:
            break
        terms = [expression(part) for part in parts if part and part[0].text != "dots"]
        if sign == "+" and all(term.is_Integer for term in terms[:-1]) and terms[-1].is_Symbol:
            step, first = terms[1] - terms[0], terms[0]
            if step == 1 and all(b - a == step for a, b in itertools.pairwise(terms[:-1])):
                return (terms[-1] - first + 1) * (first + terms[-1]) / 2
        if not all(term.is_Integer for term in terms):
            break
        known, last = [int(term) for term in terms[:-1]], int(terms[-1])
        step = known[1] - known[0]
        if not step or known != list(range(known[0], known[0] + step * len(known), step)) or (last - known[0]) % step:
            break
        if not 0 <= (last - known[0]) // step < _MOST_TERMS:
            break
        values = range(known[0], last + (1 if step > 0 else -1), step)
        return sympy.Add(*values) if sign == "+" else sympy.Mul(*values)
    raise UnreadableError("a formula that goes on")


def in_base(found: Sequence[Token]) -> InBase | None:
    """Read ``52_8``, ``1A_{16}``, ``(101)_2``, ``52 base 8`` and ``0b101``; None if it is anything else."""
    if (prefixed := _prefixed(found)) is not None:
        return prefixed
    place = next((n for n, token in split_points(found) if token.text == "_"), None)
    word = next(
        (n for n, token in enumerate(found) if token.kind in ("words", "letters") and token.text.strip().lower().startswith("base")), None
    )
    word = word or next((n for n, token in enumerate(found) if token.kind == "words" and "base" in token.text.lower().split()), None)
    place = word if place is None else place
    if not place or (not any(token.kind == "num" for token in found[:place]) and found[0].kind not in ("letters", "words")):
        return None
    before = "".join(token.text for token in found[:place] if token.text not in "(){}")
    after = " ".join(token.text for token in found[place:] if token.text not in "_(){}").lower()
    after = " ".join(part for part in after.replace(",", " ").split() if part not in ("base", "in", "number", "system"))
    base = int(after) if after.isdecimal() and len(after) <= 2 else _BASE_WORDS.get(after)
    letters = len(before) > 1 and base is not None and base > 10 and before.isalpha()
    if (
        base is None
        or base not in range(2, 37)
        or not (before.isascii() and before.isalnum())
        or not (letters or any(c.isdigit() for c in before))
    ):
        return None
    try:
        return InBase(before.upper().lstrip("0") or "0", base, int(before, base))
    except ValueError:
        return InBase(before.upper(), base, -1)  # a digit that the base does not have


def _prefixed(found: Sequence[Token]) -> InBase | None:
    """Read ``0b101``, ``0o17`` and ``0xFF``; None if it is anything else."""
    if any(token.spaced for token in found[1:]) or not all(token.kind in ("num", "letters") for token in found):
        return None
    match = _PREFIXED.fullmatch("".join(token.text for token in found))
    if match is None:
        return None
    base = _PREFIXES[match["prefix"]]
    digits = match["digits"].upper().lstrip("0") or "0"
    try:
        return InBase(digits, base, int(digits, base), prefixed=True)
    except ValueError:  # a digit that the base does not have
        return None
