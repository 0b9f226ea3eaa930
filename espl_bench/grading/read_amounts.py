# ruff: noqa: SIM905  (tables of words)
"""Amounts: a number or a formula, perhaps with a currency, a unit, a percent sign or degrees."""

from collections.abc import Sequence
from typing import Final

from espl_bench.grading import units
from espl_bench.grading.conventions import USUAL, Conventions
from espl_bench.grading.functions import exact_number, sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.notation_tables import FUNCTIONS
from espl_bench.grading.read_numbers import scalar
from espl_bench.grading.readings import Quantity, Reading, Scalar, Unit
from espl_bench.grading.token_runs import matching, spelt

_CURRENCIES: Final = frozenset("usd eur gbp rmb cny us jpy inr rs chf tk hk au ca nz a c s nt hkd aud cad sgd krw".split())
"""Codes of currencies that may stand before an amount."""
_DEGREE: Final = Unit((("degree", 1),))


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
