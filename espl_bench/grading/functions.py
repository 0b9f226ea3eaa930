"""Values of numbers, names and functions: tokens' texts to sympy."""

from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import sympy as untyped_sympy  # pyright: ignore[reportMissingTypeStubs]  (the package ships no types)

from espl_bench.grading.notation import UnreadableError

sympy: Final[Any] = untyped_sympy


def _cis(angle: Any) -> Any:
    return sympy.exp(sympy.I * angle)


_ONE_ARGUMENT: Final[dict[str, Any]] = {
    **{
        name: getattr(sympy, name)
        for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "exp", "arg", "erf")
    },
    **{f"arc{name}": getattr(sympy, f"a{name}") for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
    "ln": sympy.log,
    "sgn": sympy.sign,
    "abs": sympy.Abs,
    "floor": sympy.floor,
    "ceil": sympy.ceiling,
    "factorial": sympy.factorial,
    "cbrt": sympy.cbrt,
    "cis": _cis,
}
PLAIN_CONSTANTS: Final[dict[str, Any]] = {"pi": sympy.pi, "infinity": sympy.oo, "infty": sympy.oo, "inf": sympy.oo, "oo": sympy.oo}
"""Constants whose names are written without a backslash."""
SEVERAL_ARGUMENTS: Final[dict[str, Any]] = {"max": sympy.Max, "min": sympy.Min, "gcd": sympy.igcd, "lcm": sympy.ilcm}


@lru_cache(maxsize=4096)
def symbol(name: str) -> Any:
    """Return the real number of this name."""
    return sympy.Symbol(name, real=True)


def exact_number(text: str) -> Any:
    """Convert a number token to a rational number: ``12``, ``3.5``, ``1.5e3``, ``0.1(6)``."""
    mantissa, _, exponent = text.partition("e")
    before, _, again = mantissa.rstrip(")").partition("(")
    value = Fraction(before if not before.endswith(".") else before + "0")
    if again:
        places = len(before.partition(".")[2])
        value += Fraction(int(again), (10 ** len(again) - 1) * 10**places)
    if exponent:
        value *= Fraction(10) ** int(exponent)
    return sympy.Rational(value.numerator, value.denominator)


def choose(name: str, first: Any, second: Any) -> Any:
    """Return the number of ways to choose, or to arrange."""
    ways = sympy.binomial(first, second)
    return ways if name == "C" else sympy.ff(first, second)


def root(value: Any, degree: Any) -> Any:
    """Return the real root of a number."""
    if degree == 2:
        return sympy.sqrt(value)
    if degree.is_Integer and degree % 2 and value.is_negative:
        return -sympy.root(-value, degree)
    return sympy.root(value, degree)


def apply(name: str, base: Any | None, arguments: list[Any]) -> Any:
    """Apply a function by its name. Raises UnreadableError."""
    if name in SEVERAL_ARGUMENTS and base is None and arguments:
        if name in ("gcd", "lcm") and not all(argument.is_Integer for argument in arguments):
            return sympy.Function(name)(*sorted(arguments, key=str))
        return sympy.sympify(SEVERAL_ARGUMENTS[name](*arguments))
    if name in ("nCr", "binom") and len(arguments) == 2:
        return sympy.binomial(*arguments)
    if len(arguments) != 1:
        raise UnreadableError(f"{name} of {len(arguments)} values")
    if name in ("log", "lg"):
        if name == "lg":
            base = sympy.Integer(10)
        return sympy.log(arguments[0]) if base is None else sympy.log(arguments[0]) / sympy.log(base)
    if base is not None or name not in _ONE_ARGUMENT:
        raise UnreadableError(f"the function {name}")
    return _ONE_ARGUMENT[name](arguments[0])
