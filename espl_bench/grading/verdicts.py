r"""Decide whether an answer is the gold answer: as words if both are words, else as values, else token by token.

Nothing here raises for what a text holds. Formulas with signs that only math-verify knows (`KNOWN_TO_MATH_VERIFY`) are left to it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from espl_bench.grading.boxes import has_box, last_box
from espl_bench.grading.choice_labels import behind_label, same_choice
from espl_bench.grading.comparison import Tolerance
from espl_bench.grading.conventions import USUAL, Conventions
from espl_bench.grading.domains import parametrised
from espl_bench.grading.expressions import expression
from espl_bench.grading.functions import sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.plain_words import may_be_product
from espl_bench.grading.read import read
from espl_bench.grading.readings import Congruence, Listing, Reading, Scalar
from espl_bench.grading.sameness import same
from espl_bench.grading.side import Side, side_of
from espl_bench.grading.texts_alike import same_text, same_tokens
from espl_bench.grading.trimming import cut
from espl_bench.grading.words import same_words

KNOWN_TO_MATH_VERIFY: Final = re.compile(r"\\(?:i{1,3}nt|oint|lim|det|operatorname|partial|nabla|liminf|limsup)(?![A-Za-z])|\\frac\s*\{d")
_COMMON_LOG: Final = re.compile(r"log_\{?10\}?|\\lg(?![a-z])")
_GROUPED: Final = re.compile(r"[0-9],[0-9]{3}")
_NUMBERED: Final = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?)\.\s+[A-Z][a-z]+(?:\s+[a-z]+){2}")
"""A gold answer that goes on in prose behind its number: ``9. Anya needs to climb one floor``."""
_PROSE: Final = re.compile(
    r"(?:The|This|These|It|An?)\s(?:(?!\b(?:is|are)\b)[^.])*\b(?:is|are)\s(?P<rest>(?:(?!\b(?:is|are)\b)[^.])+)\.?\s*"
)
"""A gold answer in prose, which is answered by what it says: ``The sequence is convergent.``"""
_BARE_LOG: Final = re.compile(r"log(?![_a-zA-Z0-9])")
_NATURAL_LOG: Final = re.compile(r"(?<![a-zA-Z])ln(?![a-zA-Z])|log_\{?e")
_LONGEST_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a comparison."""

    equal: bool | None
    """None: one side holds signs that only math-verify knows."""
    why: str
    """Reason in one line, without quoting the answer."""
    readable: bool = True
    """False if the gold answer has no value."""
    empty: bool = False
    """True if there is nothing in the answer."""


def decide(gold: str, answer: str, allowed: Tolerance) -> Verdict:
    """Compare two texts."""
    if (prose := _NUMBERED.match(gold)) is not None:
        gold = prose[1]
    ours, theirs = side_of(gold), side_of(answer)
    if (said := _PROSE.fullmatch(ours.plain)) is not None and theirs.words and same_words(theirs.plain, said["rest"]):
        return Verdict(True, "the words are what the gold answer says")
    if theirs.tokens == ():
        return Verdict(False, "the answer is empty", empty=True)
    if (chosen := same_choice(ours, theirs)) is not None:
        return Verdict(chosen, "the choices are the same" if chosen else "the choices differ")
    if ours.words and theirs.words and not any(isinstance(next(_readings(side), None), Congruence) for side in (ours, theirs)):
        equal = same_text(ours, theirs)
        return Verdict(equal, "the words are the same" if equal else "the words differ")
    return _as_values(ours, theirs, allowed)


def shown(text: str) -> str:
    """Describe how a text is read, for people."""
    side = side_of(text)
    if side.words:
        return f"{' '.join(token.text.strip() for token in side.tokens or ())} (words)"
    reading = next(_readings(side), None)
    if reading is None:
        return f"{text.strip()[:_LONGEST_SHOWN]} (text, not parsed)"
    return f"{_told(reading)[:_LONGEST_SHOWN]} ({type(reading).__name__.lower()})"


def _told(reading: Any) -> str:
    """Return a reading's parts, each with what distinguishes it."""
    if isinstance(reading, Scalar):
        note = " percent" if reading.percent else "…" if reading.unfinished else " as a decimal" if reading.decimals is not None else ""
        return f"{reading.value}{note}"
    if isinstance(reading, tuple):
        return ", ".join(_told(part) for part in reading)  # pyright: ignore[reportUnknownVariableType]
    if hasattr(reading, "opening"):
        return f"{reading.opening}{_told(reading.items)}{reading.closing}"
    if hasattr(reading, "__dataclass_fields__"):
        parts = [getattr(reading, name) for name in reading.__dataclass_fields__]
        return "; ".join(_told(part) for part in parts if part not in (None, (), "") and part is not False)
    return str(reading)


def _as_values(ours: Side, theirs: Side, allowed: Tolerance) -> Verdict:
    golds, answers = _both_readings(ours, theirs)
    if any(isinstance(gold, Listing) for gold in golds):
        answers.extend(_ungrouped(theirs))
    if any(isinstance(gold, Scalar) and gold.value.has(sympy.zoo, sympy.nan) for gold in golds):
        return Verdict(False, "the gold answer has no value; correct the data", readable=False)
    for gold in golds:
        for answer in answers:
            if same(gold, answer, allowed):
                return Verdict(True, "they have the same value")
    if not answers and has_box(theirs.text) and (inside := last_box(theirs.text).answer) not in (None, theirs.text):
        return decide(ours.text, inside, allowed)
    if golds and answers:
        return Verdict(False, _difference(golds[0], answers[0]))
    if same_tokens(ours, theirs):
        return Verdict(True, "they are written alike")
    unread = [side for side, found in ((ours, golds), (theirs, answers)) if not found]
    if any(KNOWN_TO_MATH_VERIFY.search(side.text) for side in unread) and not any(side.words for side in (ours, theirs)):
        return Verdict(None, "")
    which = "neither" if len(unread) == 2 else "the gold answer" if unread[0] is ours else "the answer"
    verb = "is" if len(unread) == 2 else "is not"
    return Verdict(False, f"{which} {verb} a formula that can be read, and the texts differ")


def _both_readings(ours: Side, theirs: Side) -> tuple[list[Reading], list[Reading]]:
    """Read both sides. The base of a logarithm, and the domain of a parameter, may stand on one side only."""
    if _BARE_LOG.search(ours.text) and _NATURAL_LOG.search(theirs.text):
        return ([*_readings(ours, ways=(Conventions(unknown_log=True),))], [*_readings(theirs)])
    common = _COMMON_LOG.search(ours.text) or _COMMON_LOG.search(theirs.text)
    ways = (USUAL, Conventions(common_log=True)) if common else (USUAL,)
    golds, answers = list(_readings(ours, ways)), list(_readings(theirs, ways))
    gold, answer = (parametrised(side.tokens or ()) for side in (ours, theirs))
    if gold is not None and answer is not None:
        if gold.domain == answer.domain:
            golds, answers = _read(gold.answer), _read(answer.renamed(gold.parameter))
    else:
        golds += _read(gold.answer) if gold else []
        answers += _read(answer.answer) if answer else []
    if ours.words != theirs.words:
        golds += _product(ours)
        answers += _product(theirs)
    return golds, answers


def _read(found: tuple[Token, ...]) -> list[Reading]:
    try:
        return [read(found)]
    except UnreadableError:
        return []


def _product(side: Side) -> list[Reading]:
    """Read letters as a product: only if the other side is a formula."""
    found = side.tokens or ()
    return [Scalar(expression(found))] if side.words and may_be_product(found) else []


def _difference(gold: Reading, answer: Reading) -> str:
    kinds = [type(side).__name__.lower() for side in (gold, answer)]
    if kinds[0] != kinds[1]:
        return f"the gold answer is of kind {kinds[0]}, the answer of kind {kinds[1]}, and they do not agree"
    return f"both are of kind {kinds[0]}, and they differ"


def _readings(side: Side, ways: tuple[Conventions, ...] = (USUAL,)) -> Iterator[Reading]:
    """Yield the ways to read a text that are not refused: the usual one first."""
    if side.tokens is None:
        return
    tried = [(side.tokens, by) for by in ways]
    if any(token.text == "/" for token in side.tokens):
        tried.append((side.tokens, replace(ways[0], tight=True)))
    if (rest := behind_label(side)) is not None:
        tried.append((rest, USUAL))
    for found, by in tried:
        try:
            reading = read(found, by)
        except UnreadableError:
            continue
        if isinstance(reading, Scalar) and reading.value.has(sympy.zoo, sympy.nan) and ":" in side.text:
            continue
        yield reading


def _ungrouped(side: Side) -> list[Reading]:
    """Read ``101,202`` as two numbers: only for a gold answer that is a list."""
    if not _GROUPED.search(side.text):
        return []
    try:
        return [read(cut(side.text, grouped=False))]
    except UnreadableError:
        return []
