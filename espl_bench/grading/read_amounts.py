# ruff: noqa: SIM905  (tables of words)
"""Numbers and formulas: with a unit, a percent sign or a base; ratios and times of day."""

import itertools
from collections.abc import Callable, Sequence
from typing import Final

from espl_bench.grading import units
from espl_bench.grading.expressions import USUAL, Conventions, expression
from espl_bench.grading.functions import exact_number, sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.notation_tables import FUNCTIONS
from espl_bench.grading.readings import InBase, Quantity, Ratio, Reading, Scalar, Unit, Words
from espl_bench.grading.token_runs import matching, spelt, split, split_points
from espl_bench.grading.words import MONTHS

_BASE_WORDS: Final = {
    **{"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12, "sixteen": 16},
    **{"binary": 2, "octal": 8, "decimal": 10, "hex": 16, "hexadecimal": 16, "ternary": 3},
}
_HALVES: Final = {"am": "am", "a.m": "am", "pm": "pm", "p.m": "pm", "上午": "am", "下午": "pm", "noon": "", "": ""}
_CURRENCIES: Final = frozenset("usd eur gbp rmb cny us jpy inr rs chf tk hk au ca nz a c s nt hkd aud cad sgd krw".split())
"""Codes of currencies that may stand before an amount."""
_DEGREE: Final = Unit((("degree", 1),))
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
        values = range(known[0], last + (1 if step > 0 else -1), step)
        if not 0 < len(values) <= _MOST_TERMS:
            break
        return sympy.Add(*values) if sign == "+" else sympy.Mul(*values)
    raise UnreadableError("a formula that goes on")


def amount(found: Sequence[Token], by: Conventions = USUAL) -> Reading:
    """Read a number or a formula, perhaps with units: ``10 cm``, ``$5``, ``2 hours 30 minutes``, ``60%``. Raises UnreadableError."""
    found = list(found)
    money = _money_before(found)
    if money is not None:
        unit, rest = money
        return Quantity(scalar(rest, by), unit)
    if (angle := _angle(found)) is not None:
        return angle
    start = _unit_start(found)
    if start is None:
        return _percentage(found, by) or scalar(found, by)
    total: list[Quantity] = []
    rest = found
    while rest:
        start = _unit_start(rest)
        if not start:
            raise UnreadableError("a number behind a unit")
        end = start
        while end < len(rest) and not _begins_amount(rest, end):
            end += 1
        unit = _unit(rest[start:end])
        number = _percentage(rest[:start], by) or scalar(rest[:start], by)
        total.append(Quantity(number, unit))
        rest = rest[end:]
    if len(total) == 1:
        return total[0]
    powers = {quantity.unit.powers for quantity in total}
    if len(powers) != 1 or any(quantity.amount.value.free_symbols for quantity in total):
        raise UnreadableError("units that do not go together")
    first = total[0].unit
    value = sum((q.amount.value * _rational(q.unit.factor) / _rational(first.factor) for q in total[1:]), total[0].amount.value)
    return Quantity(Scalar(value), first, compound=True)


def _angle(found: Sequence[Token]) -> Quantity | None:
    """Read degrees with minutes and perhaps seconds of arc: ``45°30'15"``; None if it is anything else."""
    end = _degree_end(found, 1) if len(found) > 3 and found[0].kind == "num" else 0
    texts = [token.text for token in found[end:]] if end else []
    kinds = [token.kind for token in found[end:]]
    minutes = kinds[:1] == ["num"] and (texts[1:2] == ["'"] or texts[1:2] == ["minutes"])
    seconds = kinds[2:3] == ["num"] and texts[3:] in (["'", "'"], ['"'])
    if not minutes or not (len(texts) == 2 or seconds):
        return None
    parts = [exact_number(found[0].text), exact_number(texts[0]), exact_number(texts[2]) if seconds else sympy.Integer(0)]
    return Quantity(Scalar(parts[0] + parts[1] / 60 + parts[2] / 3600), _DEGREE) if max(parts[1:]) < 60 else None


def _rational(factor: object) -> object:
    return sympy.Rational(str(factor))


def _percentage(found: Sequence[Token], by: Conventions) -> Scalar | None:
    if len(found) < 2 or found[-1] != Token("op", "%", found[-1].spaced):
        return None
    number = scalar(found[:-1], by)
    return Scalar(number.value, number.decimals, number.digits, percent=True)


def _money_before(found: list[Token]) -> tuple[Unit, list[Token]] | None:
    """Take a currency before a number: ``$5``, ``-$5``, ``USD 5``, ``US$ 5``."""
    signs = 1 if found and found[0].text in ("-", "+") and found[0].kind == "op" else 0
    rest = found[signs:]
    if len(rest) < 2:
        return None
    word = rest[0]
    if word.kind == "cmd" and word.text.startswith("money "):
        unit = units.known(word.text.removeprefix("money "))
    elif word.kind in ("words", "letters") and (code := word.text.strip().rstrip(".").lower()) in _CURRENCIES:
        unit = units.known(code)
        if rest[1].kind == "cmd" and rest[1].text.startswith("money "):
            unit, rest = units.known("dollar") if code in ("us", "usd") else Unit(((f"{code} dollar", 1),)), rest[1:]
        elif rest[1].text == "." and rest[1].kind == "op":
            rest = rest[1:]
    else:
        return None
    return None if unit is None else (unit, [*found[:signs], *rest[1:]])


def _unit_start(found: Sequence[Token]) -> int | None:
    """Return where the first unit begins; None if there is none."""
    depth = 0
    for place, token in enumerate(found):
        depth += (token.kind == "open") - (token.kind == "close")
        if depth or not place:
            continue
        before = found[place - 1]
        if token.kind == "words" or (token.kind == "cmd" and token.text.startswith("money ")):
            return place
        if token.kind == "letters" and (token.text in units.BARE or token.text.lower() in units.BARE):  # noqa: SIM102
            if before.kind in ("num", "close") or before.text == "%":
                return place
        if token.kind == "letters" and token.spaced and before.kind == "num" and _speed(found[place:]):
            return place
        if _degree_end(found, place) and not _applies(found[:place]) and _ends_amount(found, _degree_end(found, place)):
            return place
    return None


def _applies(found: Sequence[Token]) -> bool:
    """Return True if a function is applied: then a degree sign belongs to its argument."""
    return any(token.text in FUNCTIONS and token.kind in ("cmd", "letters") for token in found)


def _speed(found: Sequence[Token]) -> bool:
    """Return True for ``m/s``, ``km/h``, ``m/s^2``: letters behind a blank that can hardly be variables."""
    texts = [token.text for token in found if token.text not in "{}"]
    over = (
        len(texts) in (3, 5)
        and texts[0] in ("m", "km", "cm", "ft", "mi")
        and texts[1] == "/"
        and texts[2] in ("s", "h", "hr", "min", "sec")
    )
    return over and texts[3:] in ([], ["^", "2"])


def _degree_end(found: Sequence[Token], place: int) -> int:
    """Return the place behind a degree sign that begins at `place`, else 0."""
    if found[place].kind == "op" and found[place].text == "deg":
        return place + 1
    if found[place].text == "^" and place + 1 < len(found):
        if found[place + 1].text in ("deg", "o"):
            return place + 2
        if found[place + 1].text == "{":
            end = matching(found, place + 1)
            return end + 1 if spelt(found[place + 2 : end]) in ("deg", "o") else 0
    return 0


def _ends_amount(found: Sequence[Token], place: int) -> bool:
    """Return True if only the scale of a temperature follows a degree sign, or words, or nothing."""
    return all(token.kind == "words" or (token.kind == "letters" and token.text in ("C", "F", "K")) for token in found[place:])


def _begins_amount(found: Sequence[Token], place: int) -> bool:
    """Return True if a number begins here that is no exponent of a unit."""
    return (
        found[place].kind in ("num", "cmd") and found[place - 1].text not in ("^", "{", "-") and not found[place].text.startswith("money")
    )


def _unit(found: Sequence[Token]) -> Unit:
    """Read the tokens of a unit. Raises UnreadableError."""
    factors: list[tuple[Unit, int]] = []
    sign, place = 1, 0
    if end := _degree_end(found, 0):
        rest = spelt(found[end:]).strip().lower()
        scale = units.known(f"°{rest}") if rest in ("c", "f", "k", "celsius", "fahrenheit") else None
        if rest and scale is None and rest not in ("celsius", "fahrenheit"):
            raise UnreadableError("a unit")
        return scale or units.known(rest) or _DEGREE
    while place < len(found):
        token = found[place]
        place += 1
        if token.kind == "op" and token.text == "/":
            sign = -1
        elif token.kind == "op" and token.text == "*":
            continue
        elif token.kind == "op" and token.text == "^":
            power, place = _power(found, place)
            unit, before = factors[-1] if factors else (_DEGREE, 1)
            factors[-1:] = [(unit, before * power)]
        elif token.kind == "cmd" and token.text.startswith("money ") and (unit := units.known(token.text[6:])):
            factors.append((unit, sign))
        elif token.kind in ("words", "letters"):
            described = units.described(token.text)
            if described is None:
                raise UnreadableError(f"the unit '{token.text.strip()}'")
            factors.extend((unit, sign * power) for unit, power in described)
            sign = 1
        else:
            raise UnreadableError("a unit")
    return units.product(factors)


def _power(found: Sequence[Token], place: int) -> tuple[int, int]:
    """Read the exponent of a unit and return it with the place behind it."""
    if place >= len(found):
        raise UnreadableError("a unit without its exponent")
    end = matching(found, place) if found[place].kind == "open" else place
    text = spelt(found[place : end + 1])
    if not text.lstrip("-").isdecimal() or len(text) > 2:
        raise UnreadableError("the exponent of a unit")
    return int(text), end + 1


def in_base(found: Sequence[Token]) -> InBase | None:
    """Read ``52_8``, ``1A_{16}``, ``(101)_2`` and ``52 base 8``; None if it is anything else."""
    place = next((n for n, token in split_points(found) if token.text == "_"), None)
    word = next(
        (n for n, token in enumerate(found) if token.kind in ("words", "letters") and token.text.strip().lower().startswith("base")), None
    )
    word = word or next((n for n, token in enumerate(found) if token.kind == "words" and "base" in token.text.lower().split()), None)
    place = word if place is None else place
    if not place or (not any(token.kind == "num" for token in found[:place]) and found[0].kind != "letters"):
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


def _full_hour(found: Sequence[Token]) -> Ratio | None:
    """Read ``7 PM``; None if it is anything else."""
    half = "".join(token.text.lower().strip() for token in found[1:]).replace(".", "")
    if len(found) < 2 or found[0].kind != "num" or not found[0].text.isdecimal() or half not in ("am", "pm"):
        return None
    hours = int(found[0].text)
    return Ratio((), (hours % 12 + (12 if half == "pm" else 0)) * 60, half) if 1 <= hours <= 12 else None


def date(found: Sequence[Token]) -> Words | None:
    """Read ``2020-05-14``, ``5/14/2020`` and a span of years, ``1990-1995``; None if it is anything else."""
    texts = [token.text for token in found]
    numbers, signs = texts[::2], texts[1::2]
    if len(found) not in (3, 5) or len(set(signs)) != 1 or signs[0] not in ("-", "/") or any(token.spaced for token in found[1:]):
        return None
    if not all(token.kind == "num" and token.text.isdecimal() for token in found[::2]):
        return None
    if len(numbers) == 2:
        first, last = int(numbers[0]), int(numbers[1])
        return Words("-".join(numbers)) if signs[0] == "-" and 1500 <= first < last <= 2100 else None
    sizes = [len(number) for number in numbers]
    if sizes[0] == 4 and max(sizes[1:]) <= 2 and 1 <= int(numbers[1]) <= 12 and 1 <= int(numbers[2]) <= 31:
        return Words(f"{MONTHS[int(numbers[1]) - 1]} {int(numbers[2])} {numbers[0]}")
    if sizes[2] == 4 and max(sizes[:2]) <= 2 and signs[0] == "/" and max(int(number) for number in numbers[:2]) <= 31:
        return Words(" ".join(str(int(number)) for number in numbers))  # day and month, or month and day
    return None


def ratio(found: Sequence[Token], value: Callable[[Sequence[Token]], Reading]) -> Ratio | None:
    """Read ``1:2``, ``3:30 PM`` or ``1:2:3:…``; None if there is no colon."""
    if not any(token.text == ":" for _, token in split_points(found)):
        return _full_hour(found)
    half = ""
    last = found[-1]
    words = last.text.lower().replace(".", "").strip() if last.kind in ("words", "letters") else ""
    dotted = "".join(token.text.lower() for token in found[-4:] if token.kind in ("letters", "words") or token.text == ".").replace(".", "")
    bare = list(found)
    if words in _HALVES and words:
        half, bare = _HALVES[words], bare[:-1]
    elif dotted in ("am", "pm"):
        half = dotted
        while bare and bare[-1].kind != "num":
            bare.pop()
    elif words in ("hours", "hrs", "h", "o'clock"):
        bare = bare[:-1]
    if bare and bare[-1].text == "op":
        bare = bare[:-1]
    parts = split(bare, ":")
    if not all(parts):
        raise UnreadableError("a ratio without a side")
    minutes = None
    digits = [part[0].text for part in parts if len(part) == 1 and part[0].kind == "num" and part[0].text.isdecimal()]
    if len(digits) == len(parts) == 2 and len(digits[1]) == 2 and int(digits[1]) < 60 and len(digits[0]) <= 2 and int(digits[0]) <= 24:
        hours = int(digits[0])
        if half and 1 <= hours <= 12:
            hours = hours % 12 + (12 if half == "pm" else 0)
        minutes = hours * 60 + int(digits[1])
    elif half:
        raise UnreadableError("no time of day")
    return Ratio(tuple(value(part) for part in parts), minutes, half)
