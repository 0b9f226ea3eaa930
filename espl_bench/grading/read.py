r"""Read an answer: text to one typed value (readings.py). What stands at the outermost level decides which kind it is.

What stands around it is cut away first (trimming.py). In order: words alone; tables; lists; relations; sets; brackets; ratios and times;
and at last a number or a formula, perhaps with a unit. Each kind has a module of its own (``read_*.py``). Nothing is cut off: a text that
is not understood to its end is `UnreadableError`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from espl_bench.grading.conventions import USUAL, Conventions
from espl_bench.grading.expressions import expression
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.plain_words import is_words
from espl_bench.grading.read_amounts import amount
from espl_bench.grading.read_brackets import bracketed, labelled_point, mended_brackets, set_formula
from espl_bench.grading.read_lists import listing, plus_minus
from espl_bench.grading.read_numbers import in_base
from espl_bench.grading.read_relations import congruence, parity, relation
from espl_bench.grading.read_tables import table, transposed
from espl_bench.grading.read_times import date, ratio
from espl_bench.grading.reader import Reader
from espl_bench.grading.readings import Dots, Reading, Words
from espl_bench.grading.trimming import bare, trimmed

_MAX_DEPTH: Final = 40
_ATTEMPTS: Final[tuple[Callable[[Reader, list[Token]], Reading | None], ...]] = (
    table,
    transposed,
    congruence,
    listing,
    relation,
    set_formula,
    bracketed,
    labelled_point,
    plus_minus,
)
"""The readers of all kinds but words and amounts, outermost first."""


def read(found: Sequence[Token], by: Conventions = USUAL) -> Reading:
    """Read tokens. Raises UnreadableError."""
    return _Reader(by).value(bare(found))


class _Reader:
    """Tries one kind after the other, for a text and for its parts."""

    def __init__(self, by: Conventions) -> None:
        self.by = by
        self.depth = 0

    def value(self, found: Sequence[Token]) -> Reading:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise UnreadableError("it is nested too deeply")
        try:
            return self._value(trimmed(found))
        finally:
            self.depth -= 1

    def formula(self, found: Sequence[Token]) -> Any:
        return expression(trimmed(found), self.by)

    def _value(self, found: list[Token]) -> Reading:
        if not found:
            raise UnreadableError("there is nothing")
        if found == [Token("op", "dots", found[0].spaced)]:
            return Dots()
        reading = parity(found) or _words(found) or date(found)
        if reading is not None:
            return reading
        found = mended_brackets(found)
        for attempt in _ATTEMPTS:
            reading = attempt(self, found)
            if reading is not None:
                return reading
        return ratio(found, self.value) or in_base(found) or amount(found, self.by)


def _words(found: Sequence[Token]) -> Words | None:
    """Read words that are no list; None if it is anything else, and for a single letter, which is a name."""
    if not is_words(found) or (len(found) == 1 and found[0].kind == "letters" and len(found[0].text) == 1):
        return None
    if any(token.text in (",", ";", "and", "or") for token in found if token.kind == "op"):
        return None
    return Words(" ".join(token.text for token in found))
