r"""Compare numbers and formulas.

Exact numbers are compared exactly: rational ones as fractions, others to a thousand digits. A decimal stands for what rounds to it, if it
has enough digits (`same_scalar`). Formulas with variables are compared by their values at fixed points (Schwartz and Zippel), which
needs no simplification and ends; a formula that has no value there is simplified.
"""

from collections.abc import Sequence
from itertools import permutations
from typing import Any, Final

from sympy.core.function import AppliedUndef  # pyright: ignore[reportMissingTypeStubs]

from espl_bench.grading.functions import symbol, sympy
from espl_bench.grading.readings import Scalar

LEAST_DIGITS: Final = 3
"""Significant digits from which on a decimal can stand for a number that rounds to it."""
_QUICK: Final = 40
_QUICK_TOLERANCE: Final = sympy.Float("1e-25", 10)
_THOROUGH: Final = 1_100
_THOROUGH_TOLERANCE: Final = sympy.Float("1e-1000", 10)
_POINT_DIGITS: Final = 30
_POINT_TOLERANCE: Final = sympy.Float("1e-18", 10)
_CONSTANTS: Final = ("C", "K", "D", "A", "B")
_WHOLE: Final = frozenset("nmkNMK")
_MOST_CONSTANTS: Final = 3
VALUELESS: Final = (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError)
"""Errors of evaluating a formula where it has no value."""


def same_scalar(gold: Scalar, answer: Scalar, places: int = 6) -> bool:
    """Return True if an answer is the gold number or formula.

    Of a percentage, the number before the sign counts as well as its hundredth. A decimal with `places` decimals or more answers the
    exact number that it is a rounding of, or that begins with it. A gold decimal of three significant digits or more is answered by what rounds to
    it and has more digits. A number that ends within the digits of a decimal must equal it.
    """  # noqa: E501
    if gold.percent != answer.percent:
        return any(_same(left, right, places) for left in _hundredths(gold) for right in _hundredths(answer))
    return _same(gold, answer, places)


def consistent(first: Scalar, value: Scalar, rounded: bool = False) -> bool:
    """Return True if two sides of an equation agree; `rounded`: within half a unit of the last digit that is written."""
    if same_scalar(first, value) or same_scalar(value, first):
        return True
    if not rounded or first.value.free_symbols or value.value.free_symbols:
        return False
    if _within(first.value, value.value, value.decimals or 0, 0.5):
        return True
    return first.decimals is not None and value.decimals is None and _within(value.value, first.value, first.decimals, 0.5)


def _hundredths(number: Scalar) -> Sequence[Scalar]:
    if not number.percent:
        return (number,)
    decimals = None if number.decimals is None else number.decimals + 2
    return Scalar(number.value, number.decimals, number.digits), Scalar(number.value / 100, decimals, number.digits)


def _same(gold: Scalar, answer: Scalar, places: int) -> bool:
    if gold.value == answer.value and gold.unfinished == answer.unfinished:
        return True
    if gold.value.free_symbols or answer.value.free_symbols:
        return same_formula(gold.value, answer.value)
    if gold.unfinished or answer.unfinished:
        return _continues(gold, answer)
    if answer.decimals is not None and not _ends_within(gold.value, answer.decimals) and gold.decimals is None:
        enough = answer.decimals >= places and answer.digits >= min(LEAST_DIGITS, places)
        return enough and (
            _within(gold.value, answer.value, answer.decimals, 0.5)
            or (bool(abs(gold.value) > abs(answer.value)) and _within(gold.value, answer.value, answer.decimals, 1))
        )
    if gold.decimals is not None and not _ends_within(answer.value, gold.decimals):
        longer = _unending(answer.value) if answer.decimals is None else answer.decimals > gold.decimals
        if gold.digits >= LEAST_DIGITS and longer:
            return _within(answer.value, gold.value, gold.decimals, 0.5)
    if (gold.decimals is not None or answer.decimals is not None) and gold.value.is_Rational and answer.value.is_Rational:
        return False
    return same_number(gold.value, answer.value)


def _continues(gold: Scalar, answer: Scalar) -> bool:
    """Return True if a decimal that goes on can be the other number."""
    short, long = sorted((gold, answer), key=lambda number: (not number.unfinished, number.digits))
    if long.unfinished is False and long.decimals is not None and long.digits <= short.digits:
        return False  # 0.333 is not 0.333…
    if short.digits < LEAST_DIGITS or (long.decimals is not None and (long.decimals < (short.decimals or 0))):
        return False
    return _within(long.value, short.value, short.decimals or 0, 1)


def _ends_within(number: Any, decimals: int) -> bool:
    """Return True if a number has no more decimals than these."""
    return bool(number.is_Rational) and bool((number * sympy.Integer(10) ** decimals).is_Integer)


def _unending(number: Any) -> bool:
    """Return True if a number has no end as a decimal."""
    if not number.is_Rational:
        return True
    rest = int(number.q)
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest != 1


def _within(number: Any, decimal: Any, decimals: int, units: float) -> bool:
    """Return True if a number lies within some units of the last place of a decimal."""
    difference = abs(number - decimal)
    limit = sympy.Rational(str(units)) * sympy.Integer(10) ** -decimals
    if difference.is_Rational:
        return bool(difference <= limit)
    try:
        return bool(difference.evalf(_QUICK) <= limit)
    except VALUELESS:
        return False


def same_number(left: Any, right: Any) -> bool:
    """Compare two exact numbers."""
    if left == right:
        return True
    if (left.is_Rational and right.is_Rational) or left.has(sympy.oo, -sympy.oo) or right.has(sympy.oo, -sympy.oo):
        return False
    if left.atoms(AppliedUndef) or right.atoms(AppliedUndef):
        return same_formula(left, right)
    try:
        if _apart(left, right, _QUICK, _QUICK_TOLERANCE):
            return False
        return not _apart(left, right, _THOROUGH, _THOROUGH_TOLERANCE)
    except VALUELESS:
        return False


def _apart(left: Any, right: Any, digits: int, tolerance: Any) -> bool:
    ours, theirs = left.evalf(digits, maxn=3 * digits), right.evalf(digits, maxn=3 * digits)
    if not (ours.is_number and theirs.is_number and ours.is_finite and theirs.is_finite):
        raise ValueError("no value")
    size = max(abs(ours), abs(theirs))
    if left.is_zero or right.is_zero:
        size = sympy.Integer(1)
    return bool(abs(ours - theirs) > tolerance * size)


def same_formula(left: Any, right: Any, rename: bool = True) -> bool:
    """Compare two formulas with variables."""
    if left == right:
        return True
    left, right = _without_functions(left), _without_functions(right)
    verdict = _same_at_points(left, right)
    if verdict is None:
        try:
            verdict = sympy.simplify(left - right) == 0
        except VALUELESS:
            verdict = False
    return bool(verdict) or (rename and _same_but_constants(left, right))


def _without_functions(formula: Any) -> Any:
    """Replace ``f(3)`` by a variable of that name."""
    return formula.xreplace({call: symbol(str(call)) for call in formula.atoms(AppliedUndef)})


def _same_at_points(left: Any, right: Any) -> bool | None:
    """Compare values at fixed points; None if there are none."""
    variables = sorted(left.free_symbols | right.free_symbols, key=str)
    roots = any(power.free_symbols and power.exp.is_Integer is not True for power in (left.atoms(sympy.Pow) | right.atoms(sympy.Pow)))
    signs = [1, 1, 1] if roots and not (left.has(sympy.Abs) or right.has(sympy.Abs)) else [1, 1, -1, -1]
    steps = left.has(sympy.floor, sympy.ceiling, sympy.Mod) or right.has(sympy.floor, sympy.ceiling, sympy.Mod)
    if roots:
        left, right = _with_real_roots(left), _with_real_roots(right)
    extremes = left.has(sympy.Max, sympy.Min) or right.has(sympy.Max, sympy.Min)
    if (extremes and left.free_symbols != right.free_symbols) or left.has(sympy.sign) != right.has(sympy.sign):
        return False
    compared = 0
    for round_, sign in enumerate(signs * (3 if steps else 1)):
        point = {
            name: _coordinate(place, round_) * (sign if (place + round_) % 2 else 1)
            for place, name in enumerate(reversed(variables) if extremes and round_ % 2 else variables)
        }
        if sign < 0 and len(variables) == 1:
            point = {variables[0]: -_coordinate(0, round_)}
        if steps:  # whole and half numbers are where the steps are; some letters are whole numbers by convention
            point |= {
                name: sympy.Rational(2 * place + 3 * round_ + sign, 1 if str(name) in _WHOLE else round_ % 3)
                for place, name in enumerate(variables)
                if round_ % 3 or str(name) in _WHOLE
            }
        try:
            ours, theirs = (side.xreplace(point).evalf(_POINT_DIGITS) for side in (left, right))
        except VALUELESS:
            continue
        if not (ours.is_number and theirs.is_number and ours.is_finite and theirs.is_finite):
            continue
        compared += 1
        if abs(ours - theirs) > _POINT_TOLERANCE * max(abs(ours), abs(theirs), _POINT_TOLERANCE):
            return False
    return True if compared >= 2 else None


def _with_real_roots(formula: Any) -> Any:
    """Take odd roots of negative numbers for negative numbers, as ``root`` does: ``x^{2/3}`` has a value everywhere."""

    def is_odd_root(part: Any) -> bool:
        return bool(part.is_Pow and part.exp.is_Rational and part.exp.q > 1 and part.exp.q % 2 and part.base.is_extended_real)

    def real_root(part: Any) -> Any:
        return sympy.sign(part.base) ** part.exp.p * sympy.Abs(part.base) ** part.exp

    return formula.replace(is_odd_root, real_root)


def _coordinate(place: int, round_: int) -> Any:
    return sympy.Rational((7919 * (place + 3) + 104_729 * (round_ + 1)) % 1009 + 409, 499 + 18 * round_)


def _same_but_constants(left: Any, right: Any) -> bool:
    """Compare formulas whose constants of integration have other names: in an answer also small ones that are only added."""
    ours = sorted((name for name in left.free_symbols if _is_constant(name)), key=str)
    theirs = sorted((name for name in right.free_symbols if _is_constant(name) or _is_added(name, right)), key=str)
    rest = left.free_symbols - set(ours)
    if not ours or len(ours) != len(theirs) or len(ours) > _MOST_CONSTANTS or not rest or rest != right.free_symbols - set(theirs):
        return False
    if not any(str(name)[0] in "CcK" for name in (*ours, *theirs)):
        return False
    if set(ours) == set(theirs) and len(ours) == 1:
        return False
    for order in permutations(theirs):
        renamed = right.xreplace(dict(zip(order, ours, strict=True)))
        if _same_at_points(left, renamed):
            return True
    return False


def _is_constant(name: Any) -> bool:
    text = str(name)
    return text in _CONSTANTS or (text[0] in "CcKk" and text[1:2] == "_" and text[2:].isdecimal())


def _is_added(name: Any, formula: Any) -> bool:
    return str(name) in ("c", "k") and formula.diff(name) == 1
