"""Compare answers with math-verify. Imported only in the grading process: sympy takes a third of a second to import.

math-verify's own time limits are off. They work by a signal in the main thread, and do not end a computation that is
inside one long step; the process has limits that do (grade_worker.py).
"""

import logging
import sys
from functools import lru_cache
from tokenize import TokenError
from typing import Any, Final

import math_verify  # pyright: ignore[reportMissingTypeStubs]  (the packages ship no types)
import sympy as untyped_sympy  # pyright: ignore[reportMissingTypeStubs]

from espl_bench.grading.comparison import Tolerance
from espl_bench.grading.latex_rewrites import as_meant, before_percent
from espl_bench.grading.rules import LONGEST_SHOWN, MatchType
from espl_bench.grading.verdicts import Verdict, decide, shown
from espl_bench.grading.wire import GraderFinding, GraderQuestion, GraderReply

_LATEX: Final[Any] = math_verify.LatexExtractionConfig(boxed_match_priority=0)
# One object for every use: math-verify caches the compiled patterns of a single configuration.
_TARGETS: Final[dict[str, Any]] = {
    MatchType.LATEX: _LATEX,
    MatchType.EXPR: math_verify.ExprExtractionConfig(),
    MatchType.STRING: math_verify.StringExtractionConfig(),
}
sympy: Final[Any] = untyped_sympy
_INEXACT: Final = (sympy.Float, sympy.UnevaluatedExpr)
_NOTHING: Final = (sympy.nan, sympy.zoo)
"""Value of the time ``6:00`` read as a ratio: only its text can be compared."""
_NO_VALUE: Final = (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError)
"""Errors of evaluating a formula without a value, or without one to so many digits: a difference of exactly 0, for example."""
_DIGITS: Final = 20
_RELATIVE: Final = 1e-9
_parse: Final[Any] = math_verify.parse
_verify: Final[Any] = math_verify.verify

_DELIMITERS: Final = ("$", "\\(", "\\[", "\\boxed", "\\fbox", "\\begin")
_ARITHMETIC: Final = frozenset("0123456789.,+-*/^()% ")


def compare(question: GraderQuestion) -> GraderReply:
    """Compare. Texts to be searched are math-verify's; anything else is read here first. Raises whatever math-verify raises."""
    if not question.search:
        allowed = Tolerance(question.float_rounding, question.strict, question.allow_set_relation_comp)
        verdict = decide(question.gold, question.answer, allowed)
        if verdict.equal is not None:
            return _replied(question, verdict)
    gold = _read_gold(question.gold, question.search)
    answer = _read(question.answer, question.search)
    if not gold:
        finding = GraderFinding.NO_GOLD
    elif not answer:
        finding = GraderFinding.NO_ANSWER
    else:
        finding = GraderFinding.EQUAL if _any_equal(gold, answer, question) else GraderFinding.DIFFERENT
    if not question.describe:
        return GraderReply(finding)
    return GraderReply(finding, gold_form=_described(gold), answer_form=_described(answer))


def _replied(question: GraderQuestion, verdict: Verdict) -> GraderReply:
    if not verdict.readable:
        finding = GraderFinding.NO_GOLD
    elif verdict.empty:
        finding = GraderFinding.NO_ANSWER
    else:
        finding = GraderFinding.EQUAL if verdict.equal else GraderFinding.DIFFERENT
    if not question.describe:
        return GraderReply(finding, verdict.why, read=True)
    return GraderReply(finding, verdict.why, shown(question.gold), shown(question.answer), read=True)


def warm_up() -> None:
    """Read and compare one answer of every common kind, so that everything is loaded and compiled before the first real one."""
    logging.disable(logging.CRITICAL)
    sys.set_int_max_str_digits(0)  # the process has its own limits; a refused conversion would pass for a wrong answer
    for gold, answer in _WARM_UP:
        for search in ((), tuple(MatchType)):
            compare(GraderQuestion(gold, answer, search, True, True, 6, 15, cpu_s=0.0, memory_mib=0, describe=True))


def _read(text: str, search: tuple[str, ...]) -> list[Any]:
    """Return the parsed form and then its source text; either may be missing."""
    if search:
        targets = [_TARGETS[name] for name in search]
        try:
            return _parse(text, targets, parsing_timeout=None, raise_on_error=True)
        except (SyntaxError, TokenError, TypeError):  # plain arithmetic that ends in an operator, as prose does: no formula, but an answer
            return _parse(text, targets, parsing_timeout=None, raise_on_error=False)
    formula = as_meant(text)
    forms = _parsed(formula)
    number = before_percent(formula)
    if number is not None and not any(isinstance(form, sympy.Basic) for form in forms):
        forms = [_percentage(form) for form in _parsed(number) if _is_number(form)] + forms
    return [form for form in forms if not (":" in formula and isinstance(form, sympy.Basic) and form.has(*_NOTHING))]


def _parsed(formula: str) -> list[Any]:
    return _parse(f"\\boxed{{{formula}}}", [_LATEX], extraction_mode="first_match", parsing_timeout=None, raise_on_error=True)


def _percentage(number: Any) -> Any:
    """Write a percentage as math-verify does: it reads a percent sign after digits, but not after a fraction."""
    return sympy.Mul(number, sympy.UnevaluatedExpr(sympy.Rational(1, 100)), evaluate=False)


def _is_number(form: Any) -> bool:
    return isinstance(form, sympy.Expr) and form.is_number


@lru_cache(maxsize=1024)
def _read_gold(text: str, search: tuple[str, ...]) -> list[Any]:
    """Read a gold answer; a bare formula is put into a box, since math-verify's search would take it for prose."""
    bare = not any(mark in text for mark in _DELIMITERS) and not _ARITHMETIC.issuperset(text)
    return _read(text, () if bare and MatchType.LATEX in search else search)


def _any_equal(gold: list[Any], answer: list[Any], question: GraderQuestion) -> bool:
    """Return True if some reading of the answer equals some reading of the gold answer; raise an exception only if none does."""
    fault: Exception | None = None
    for gold_form in gold:
        for answer_form in answer:
            try:
                equal = not (_far_apart(gold_form, answer_form) or _unlike(gold_form, answer_form)) and _verify(
                    *_denied(gold_form, answer_form),
                    float_rounding=question.float_rounding,
                    numeric_precision=question.numeric_precision,
                    strict=question.strict,
                    allow_set_relation_comp=question.allow_set_relation_comp,
                    timeout_seconds=None,
                    raise_on_error=True,
                )
            except Exception as error:  # noqa: BLE001  # anything may come out of sympy; it is raised again below
                fault = error
                continue
            if equal:
                return True
    if fault is not None:
        raise fault
    return False


def _denied(gold: Any, answer: Any) -> tuple[Any, Any]:
    r"""Replace two relations such as ``x \ne 2``, for which math-verify has no rule, by the equations they deny."""
    if isinstance(gold, sympy.Ne) and isinstance(answer, sympy.Ne):
        return tuple(sympy.Eq(form.lhs, form.rhs, evaluate=False) for form in (gold, answer))
    return gold, answer


def _unlike(gold: Any, answer: Any) -> bool:
    """Return True if one of two relations denies an equation and the other does not."""
    relations = all(isinstance(form, sympy.Rel) for form in (gold, answer))
    return relations and isinstance(gold, sympy.Ne) != isinstance(answer, sympy.Ne)


def _far_apart(gold: Any, answer: Any) -> bool:
    """Return True if two exact numbers certainly differ, so that math-verify is not needed.

    Where both are tiny, math-verify would be wrong: it ignores a difference below about 1e-15, and so 1/2^98 equals 1/2^99. For
    other numbers this saves its attempt to simplify the difference to 0, which takes most of the time of wrong answers. Decimal
    fractions, percentages and everything that is not a number are left to its own rules.
    """
    if not all(_is_number(form) and not form.has(*_INEXACT) for form in (gold, answer)):
        return False
    try:
        gold_value, answer_value = (form.evalf(_DIGITS, strict=True) for form in (gold, answer))
        if not (gold_value.is_finite and answer_value.is_finite):
            return False
        return bool(abs(gold_value - answer_value) > _RELATIVE * max(abs(gold_value), abs(answer_value)))
    except _NO_VALUE:
        return False


def _described(forms: list[Any]) -> str:
    """Describe the first reading, for people."""
    if not forms:
        return "nothing"
    form = forms[0]
    kind = "text, not parsed" if isinstance(form, str) else type(form).__name__
    return f"{str(form)[:LONGEST_SHOWN]} ({kind})"


_WARM_UP: Final = (
    ("\\frac{1}{2}", "0.5"),
    ("\\sqrt{2}+\\sqrt{5}", "\\sqrt{5}+\\sqrt{2}"),
    ("(3, \\frac{\\pi}{2})", "\\left( 3, \\frac{\\pi}{2} \\right)"),
    ("[0, 1)", "0 \\le x < 1"),
    ("\\{1, 2, 3\\}", "1, 2 \\text{ and } 3"),
    ("x^2 - 2x + 1", "(x-1)^2"),
    ("\\tan^2(y)+1", "\\sec^2(y)"),
    ("x = 2, y = 3", "(2, 3)"),
    ("y = 2x + 3", "2x - y + 3 = 0"),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{pmatrix} 1 & 2 \\\\ 3 & 5 \\end{pmatrix}"),
    ("3 + 4i", "4i + 3"),
    ("10\\%", "10"),
    ("90^\\circ", "90"),
    ("\\text{Evelyn}", "Evelyn"),
    ("12", "12 \\text{ cm}^2"),
    ("[-1, 0) \\cup (0, \\infty)", "(-\\infty, 2)"),
    ("2^{10}", "1024"),
    ("\\log_2 3 + e^{2}", "e^2 + \\frac{\\ln 3}{\\ln 2}"),
    ("\\binom{6}{3} \\cdot 3!", "120"),
    ("2x + 4y - 3 = 0", "y = -\\frac{1}{2}x + \\frac{3}{4}"),
    ("\\pm 2", "2, -2"),
    ("A", "B"),
)
