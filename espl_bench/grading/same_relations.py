"""Compare equations, inequalities and what they say of a name. `swapped`: the first value is the answer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sympy.core.function import AppliedUndef  # pyright: ignore[reportMissingTypeStubs]

from espl_bench.grading import scalars
from espl_bench.grading.comparison import Comparison
from espl_bench.grading.functions import symbol, sympy
from espl_bench.grading.readings import Assignments, Bracketed, Listing, Named, Reading, Region, Relation, Scalar
from espl_bench.grading.same_amounts import scalars_agree

_FLIPPED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


def names(gold: Named, answer: Named, by: Comparison) -> bool:
    """Compare what two names stand for. Two equations that are solved for different names may still be one."""
    if gold.arguments and len(gold.arguments) == len(answer.arguments) and gold.name == answer.name:
        if isinstance(gold.value, Scalar) and isinstance(answer.value, Scalar):
            renamed = answer.value.value.xreplace({symbol(b): symbol(a) for a, b in zip(gold.arguments, answer.arguments, strict=True)})
            return scalars_agree(gold.value, replace(answer.value, value=renamed), by)
    elif gold.name == answer.name or (not by.allowed.strict and not gold.arguments):
        return by.same(gold.value, answer.value)
    if isinstance(gold.value, Scalar) and isinstance(answer.value, Scalar) and not (gold.arguments or answer.arguments):  # noqa: SIM102
        if gold.value.value.free_symbols and answer.value.value.free_symbols:
            return relations(_equation(gold), _equation(answer), by)
    return gold.arguments == answer.arguments and gold.name == answer.name and by.same(gold.value, answer.value)


def _equation(reading: Named | Scalar) -> Relation:
    assert isinstance(reading, Named) and isinstance(reading.value, Scalar)
    if not reading.arguments and len(reading.name) in (2, 3) and reading.name.isalpha() and reading.name.isupper():  # PV = nRT
        return Relation("=", sympy.Mul(*[symbol(letter) for letter in reading.name]), reading.value.value)
    name = reading.name if not reading.arguments else f"{reading.name}({','.join(reading.arguments)})"
    return Relation("=", symbol(name), reading.value.value)


def named_any(named: Named, other: Reading, by: Comparison, swapped: bool) -> bool:
    """Compare the value of a name with an answer that names nothing."""
    if isinstance(other, Relation) and isinstance(named.value, Scalar):
        equation = _equation(named)
        return relations(other, equation, by) if swapped else relations(equation, other, by)
    if isinstance(named.value, Listing) and isinstance(other, Bracketed | Assignments):
        return False
    if isinstance(other, Region) and other.variable and other.variable != named.name and by.allowed.strict:
        return False
    return by.same(other, named.value) if swapped else by.same(named.value, other)


def relations(gold: Relation, answer: Relation, by: Comparison) -> bool:
    """Compare equations and inequalities up to a factor: a number for both, whose sign turns an inequality round."""
    if answer.sign not in (gold.sign, _FLIPPED[gold.sign]):
        return False
    ours, theirs = (sympy.together(side.left - side.right) for side in (gold, answer))
    if ours.free_symbols != theirs.free_symbols:
        return False
    if gold.sign in ("=", "!="):
        ours, theirs = (sympy.fraction(sympy.together(sympy.expand(side)))[0] for side in (ours, theirs))
    ratio = _constant_ratio(ours, theirs)
    if ratio is None or ratio == 0:
        return gold.sign == "=" and _same_real_roots(ours, theirs)
    if gold.sign in ("=", "!="):
        return True
    return bool(ratio > 0) if answer.sign == gold.sign else bool(ratio < 0)


def _constant_ratio(ours: Any, theirs: Any) -> Any | None:
    """Return ours divided by theirs if that is one number."""
    variables = sorted(ours.free_symbols, key=str)
    if not variables:
        return None
    point = {name: sympy.Rational(137 + 29 * place, 61) for place, name in enumerate(variables)}
    try:
        below = theirs.xreplace(point)
        if below.is_zero or not below.is_number:
            return None
        ratio = ours.xreplace(point) / below
        if not ratio.is_number or not ratio.is_finite:
            return None
        return ratio if scalars.same_formula(ours, ratio * theirs, rename=False) else None
    except scalars.VALUELESS:
        return None


def _same_real_roots(ours: Any, theirs: Any) -> bool:
    """Compare the real factors of two polynomials: ``y^3 = x^3`` is ``y = x``."""
    variables = sorted(ours.free_symbols, key=str)
    if not (ours.is_polynomial(*variables) and theirs.is_polynomial(*variables)):
        return False
    try:
        kept = [
            {_monic(factor) for factor, _ in sympy.factor_list(side)[1] if not _without_roots(factor, variables)} for side in (ours, theirs)
        ]
    except scalars.VALUELESS:
        return False
    return bool(kept[0]) and kept[0] == kept[1]


def _monic(factor: Any) -> Any:
    polynomial = sympy.Poly(factor, *sorted(factor.free_symbols, key=str))
    return polynomial.monic().as_expr()


def _without_roots(factor: Any, variables: Sequence[Any]) -> bool:
    """Return True for a definite quadratic form: it is zero nowhere but at the origin, where the other factors are."""
    polynomial = sympy.Poly(factor, *variables)
    if polynomial.total_degree() != 2 or not polynomial.is_homogeneous or len(variables) > 3:
        return False
    matrix = sympy.hessian(factor, variables)
    return bool(matrix.is_positive_definite or matrix.is_negative_definite)


def relation_scalar(relation: Relation, number: Scalar, by: Comparison, swapped: bool) -> bool:
    """A gold number is answered by an equation that says what it is the value of: ``m + n = 42``, ``f(3) = 42``."""
    if not swapped or relation.sign != "=" or relation.right.free_symbols or number.value.free_symbols:
        return False
    said = len(relation.left.free_symbols) > 1 or relation.left.has(sympy.Abs) or bool(relation.left.atoms(AppliedUndef))
    return said and scalars.same_scalar(number, Scalar(relation.right), by.allowed.places)
