"""Sets of real numbers: from bounds, brackets and braces, and from the letters for all numbers of a kind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from espl_bench.grading.functions import sympy
from espl_bench.grading.notation import Token
from espl_bench.grading.readings import Bracketed, Listing, Named, Reading, Region, Relation, Scalar, SetOf
from espl_bench.grading.scalars import VALUELESS
from espl_bench.grading.token_runs import spelt

JOINS: Final[dict[str, Callable[[Any, Any], Any]]] = {"cup": sympy.Union, "cap": sympy.Intersection, "setminus": sympy.Complement}
_NUMBERS: Final[dict[str, Any]] = {
    "set R": sympy.S.Reals,
    "set Z": sympy.S.Integers,
    "set N": sympy.S.Naturals,
    "set Q": sympy.S.Rationals,
    "set C": sympy.S.Complexes,
    "set R^+": sympy.Interval.open(0, sympy.oo),
    "set R^*": sympy.Complement(sympy.S.Reals, sympy.FiniteSet(0)),
    "set R^star": sympy.Complement(sympy.S.Reals, sympy.FiniteSet(0)),
    "set R^-": sympy.Interval.open(-sympy.oo, 0),
    "set R_>0": sympy.Interval.open(0, sympy.oo),
    "set R_>=0": sympy.Interval(0, sympy.oo),
    "set R_+": sympy.Interval.open(0, sympy.oo),
    "set Z^+": sympy.S.Naturals,
    "set Z_>0": sympy.S.Naturals,
    "set Z_+": sympy.S.Naturals,
    "set N_0": sympy.S.Naturals0,
    "set Z_>=0": sympy.S.Naturals0,
}
CLOSING: Final = (")", "]", "rbrace")
_KINDS: Final[dict[str, Any]] = {"<": sympy.Lt, ">": sympy.Gt, "<=": sympy.Le, ">=": sympy.Ge, "!=": sympy.Ne}
_FLIPPED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}


def number_set(found: Sequence[Token]) -> Region | None:
    """Read the letter for all numbers of a kind; None if it is anything else."""
    value = _NUMBERS.get(spelt(found))
    return None if value is None else Region(None, value)


def with_differences(found: list[Token]) -> list[Token]:
    r"""Take the minus between sets for a difference: ``\mathbb{R} - \{1\}``."""
    return [
        Token("op", "setminus", token.spaced)
        if token == Token("op", "-", token.spaced)
        and place
        and (found[place - 1].text in CLOSING or found[place - 1].text.startswith("set "))
        and _next_is_set(found, place)
        else token
        for place, token in enumerate(found)
    ]


def _next_is_set(found: Sequence[Token], place: int) -> bool:
    return place + 1 < len(found) and found[place + 1] == Token("open", "lbrace", found[place + 1].spaced)


def from_bounds(place: int, bounds: Mapping[int, Any], signs: Sequence[str]) -> Any | None:
    """Return the real numbers that can stand at `place` of a chain such as ``-2 <= x < 7``; None if that is unclear."""
    if not all(bound.is_extended_real for bound in bounds.values()):
        return None
    region = sympy.S.Reals
    for left, sign in enumerate(signs):
        right = left + 1
        if place == left:
            region = sympy.Intersection(region, _side(sign, bounds[right]))
        elif place == right:
            region = sympy.Intersection(region, _side(_FLIPPED[sign], bounds[left]))
        else:
            return None
    return region


def _side(sign: str, bound: Any) -> Any:
    if sign == "!=":
        return sympy.Complement(sympy.S.Reals, sympy.FiniteSet(bound))
    if sign in ("<", "<="):
        return sympy.Interval(-sympy.oo, bound, right_open=sign == "<")
    return sympy.Interval(bound, sympy.oo, left_open=sign == ">")


def interval(reading: Reading) -> Any | None:
    """Return two items in brackets as an interval; None if they cannot be one."""
    if not (isinstance(reading, Bracketed) and len(reading.items) == 2):
        return None
    low, high = reading.items
    if not (isinstance(low, Scalar) and isinstance(high, Scalar)) or low.value.free_symbols or high.value.free_symbols:
        return None
    if not (low.value.is_extended_real and high.value.is_extended_real) or (low.value < high.value) != True:  # noqa: E712  (sympy's)
        return None
    return sympy.Interval(low.value, high.value, left_open=reading.opening == "(", right_open=reading.closing == ")")


def as_region(reading: Reading) -> Region | None:
    """Return a value as a set of real numbers; None if it cannot be one."""
    if isinstance(reading, Region):
        return reading
    if isinstance(reading, Named) and not reading.arguments:
        inside = as_region(reading.value) if not isinstance(reading.value, Scalar) else None
        return None if inside is None else Region(reading.name, inside.value)
    if isinstance(reading, SetOf):
        if all(isinstance(item, Scalar) for item in reading.items):
            return Region(None, sympy.FiniteSet(*[item.value for item in reading.items if isinstance(item, Scalar)]))
        return None
    if isinstance(reading, Listing):
        parts = [as_region(item) for item in reading.items if not isinstance(item, Scalar | SetOf)]
        if len(parts) == len(reading.items) and all(part is not None for part in parts):
            return Region(None, sympy.Union(*[part.value for part in parts if part is not None]))
        return None
    value = interval(reading)
    return None if value is None else Region(None, value)


def solved(relation: Relation, variable: str | None = None) -> Any | None:
    """Solve an inequality in one variable, which must have this name; None if it has others, or no solution can be found."""
    names = (relation.left - relation.right).free_symbols
    if len(names) != 1 or relation.sign == "=" or variable not in (None, *map(str, names)):
        return None
    (name,) = names
    try:
        return sympy.solveset(_KINDS[relation.sign](relation.left, relation.right), name, sympy.S.Reals)
    except VALUELESS:
        return None
