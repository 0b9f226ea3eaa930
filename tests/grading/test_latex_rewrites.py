"""How a formula is rewritten before math-verify reads it: what is touched, and what must stay as it is."""

from fractions import Fraction

import pytest
from checked import present
from hypothesis import given
from hypothesis import strategies as st

from espl_bench.grading.latex_rewrites import as_meant, before_percent

MEANT = {
    "1 - \\mathrm{e}": "1 -  e",
    "\\frac{1}{\\text{a}}": "\\frac{1}{\\text{a}}\\,",
    "4\\": "4",
    "\\frac12.": "\\frac12",
    "$\\frac12.$": "$\\frac12$",
    "(1, 2), ": "(1, 2)",
    "0.\\overline{3}": "\\frac{3}{9}",
    "2.1\\bar{6}x": "\\frac{195}{90}x",
    ".\\overline{ 12 }": "\\frac{12}{99}",
    "1e3": "1 \\cdot 10^{3}",
    "$-1.5E-3$": "-1.5 \\cdot 10^{-3}",
    "\\varnothing": "\\emptyset",
}
LEFT_ALONE = (
    *("12 \\text{ cm}^2", "x = 2, y = 3", "3 \\,", "2\\left\\{ x \\right.", "0.333...", "1, 2, \\ldots", "2e", "e3", "1e3 + 1", "2e^3"),
    *("0.\\overline{AB}", "1,0.\\overline{3}", "\\overline{AB}", "0.\\overline{3}5", "0.\\overline{" + "3" * 31 + "}", "\\varnothingx"),
)


@pytest.mark.parametrize(("formula", "meant"), MEANT.items())
def test_what_is_meant(formula: str, meant: str):
    assert as_meant(formula).strip() == meant


@pytest.mark.parametrize("formula", LEFT_ALONE)
def test_what_stays_as_it_is(formula: str):
    assert as_meant(formula) == formula


@given(st.integers(0, 10**6), st.text("0123456789", max_size=6), st.text("0123456789", min_size=1, max_size=6))
def test_a_repeating_decimal_is_its_fraction(whole: int, once: str, again: str):
    top, bottom = as_meant(f"{whole}.{once}\\overline{{{again}}}").removeprefix("\\frac{").removesuffix("}").split("}{")
    long = Fraction(f"{whole}.{once}{again * 20}")
    assert abs(Fraction(int(top), int(bottom)) - long) < Fraction(1, 10 ** (len(once) + 20 * len(again) - 1))


def test_what_stands_before_a_percent_sign():
    assert before_percent("\\frac{100}{3}\\%") == present(before_percent("$\\frac{100}{3} \\% $")).removeprefix("$") == "\\frac{100}{3}"
    assert before_percent("50%") == "50"
    assert before_percent("50\\% x") is None
