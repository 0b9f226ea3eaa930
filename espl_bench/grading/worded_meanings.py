"""Words that stand for a value, and words that mean the same: ``no solution`` is the empty set, ``DNE`` is ``undefined``."""

from typing import Any, Final

from espl_bench.grading.functions import sympy
from espl_bench.grading.words import normalised

_NOTHING: Final = (
    *("no solution", "no solutions", "none", "empty set", "no real solutions", "no real solution", "无解", "there is no solution"),
    *("there are no solutions", "does not have a solution", "has no solution", "no such number", "no roots", "no real roots"),
)
_SETS: Final[dict[str, Any]] = {
    **dict.fromkeys(_NOTHING, sympy.S.EmptySet),
    **dict.fromkeys(("real numbers", "reals", "real", "real x", "全体实数", "实数"), sympy.S.Reals),
    **dict.fromkeys(("integers", "integer numbers", "整数"), sympy.S.Integers),
    **dict.fromkeys(("positive integers", "natural numbers", "naturals", "正整数"), sympy.S.Naturals),
    **dict.fromkeys(("rational numbers", "rationals"), sympy.S.Rationals),
    **dict.fromkeys(("nonnegative integers", "non-negative integers"), sympy.S.Naturals0),
    "positive real numbers": sympy.Interval.open(0, sympy.oo),
}
"""Sets that words name, without all, the and set of."""
_SAME: Final = (
    frozenset(_NOTHING),
    frozenset(("undefined", "dne", "does not exist", "not defined", "d n e")),
    frozenset(("infinitely many", "infinitely many solutions", "infinite solutions", "infinite number of solutions")),
)


def worded_set(text: str) -> Any | None:
    """Return the set that words name; None if they name none."""
    return _SETS.get(text.lower().strip(" .").removeprefix("the ").removeprefix("set of ").removeprefix("all "))


def same_meaning(one: str, other: str) -> bool:
    """Return True if both texts are listed as having one meaning."""
    ours, theirs = normalised(one), normalised(other)
    return any(ours in group and theirs in group for group in _SAME)
