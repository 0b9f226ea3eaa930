r"""Rewrite formulas so that math-verify reads them as meant, in common cases that it gets wrong or cannot read.

Text to text; only the two whole numbers of a repeating decimal are computed. Applies only to extracted answers: where
math-verify searches a text itself, it gets that text unchanged.
"""

import re
from typing import Final

MAX_REPEATING_DIGITS: Final = 30
"""Maximum digits of each part of a repeating decimal; a longer one is left as it is."""

_CONSTANT: Final = re.compile(r"\\mathrm\s*+\{\s*+([ei])\s*+\}")
_WORDS: Final = re.compile(r"\\(?:text|mbox|math(?:rm|it|bf))")
_UNIT: Final = re.compile(r"\\(?:text|mbox|math(?:rm|it|bf))[a-z]*+\s*+\{[^{}]*+\}(?:\s*+\^\s*+\{?[0-9]\}?)?$")
_EMPTY_SET: Final = re.compile(r"\\varnothing(?![A-Za-z])")
_CLOSING_MARK: Final = re.compile(r"(?<!\\right)(?<!\\left)(?<![\\.])[.,;](?P<rest>[\s$]*+)$")
_SCIENTIFIC: Final = re.compile(r"(?P<factor>[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++))[eE](?P<exponent>[+-]?[0-9]{1,3})")
_REPEATING: Final = re.compile(
    rf"(?<![0-9.,])(?P<whole>[0-9]{{0,{MAX_REPEATING_DIGITS}}})\.(?P<once>[0-9]{{0,{MAX_REPEATING_DIGITS}}})"
    rf"\\(?:overline|bar)\s*+\{{\s*+(?P<again>[0-9]{{1,{MAX_REPEATING_DIGITS}}})\s*+\}}(?!\s*+[0-9.])"
)


def as_meant(formula: str) -> str:
    r"""Rewrite a formula for math-verify.

    * An upright ``\mathrm{e}`` or ``\mathrm{i}`` is the constant, not a variable of that name.
    * A unit such as ``\text{ cm}^2`` is cut off at the end of a formula by removing everything from a ``\text{`` to the last brace,
      which leaves ``\frac{1}{`` of ``\frac{1}{\text{a}}``; a thin space after a formula that ends in a brace, and not in a unit,
      prevents that.
    * A backslash at the very end means nothing, and would take the brace of the box with it; nor does the mark that closes a
      sentence, a full stop, comma or semicolon.
    * ``0.1\overline{6}`` is a fraction, ``1.5e3`` a power of ten, and ``\varnothing`` the empty set.
    """
    formula = _CONSTANT.sub(r" \1", formula.rstrip("\\ "))
    formula = _EMPTY_SET.sub(r"\\emptyset ", _CLOSING_MARK.sub(r"\g<rest>", formula))
    formula = _REPEATING.sub(_fraction, formula)
    if power := _SCIENTIFIC.fullmatch(formula.strip("$ ")):
        formula = f"{power['factor']} \\cdot 10^{{{power['exponent']}}}"
    end = formula.rstrip("$ ")
    nested = end.endswith("}") and _WORDS.search(end) and not _UNIT.search(end)
    return f"{formula}\\," if nested else formula


def before_percent(formula: str) -> str | None:
    """Return the text before the percent sign that ends a formula; None if there is none."""
    bare = formula.rstrip("$ ")
    return bare[:-1].rstrip("\\ ") if bare.endswith("%") else None


def _fraction(decimal: re.Match[str]) -> str:
    """Write ``w.o(a)`` as (woa - wo) over as many nines as `a` has digits, followed by as many zeros as `o` has."""
    once, again = decimal["once"], decimal["again"]
    before = decimal["whole"] + once
    numerator = int(before + again) - int(before or "0")
    return f"\\frac{{{numerator}}}{{{'9' * len(again)}{'0' * len(once)}}}"
