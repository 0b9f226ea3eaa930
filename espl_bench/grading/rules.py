"""Grading rules and grades, as frozen data.

All limits are here, with the reasons for their values. ``docs/grading.md`` holds the measurements.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from espl_bench.errors import UsageError, unknown
from espl_bench.types import Outcome

MAX_ANSWER_CHARS: Final = 500
"""A longer answer is wrong, unless it equals the gold answer as an integer or as text, or is at most `LENGTH_RATIO` times as
long as that. It is an answer, so it does not count as missing; but no person would give it to a question whose answer is short
(at most 53 characters in the public sets that the project is tested with); and a loop such as ``x^x^x^…`` would otherwise end
as a timeout, from which no policy learns."""
LENGTH_RATIO: Final = 4
MAX_GOLD_CHARS: Final = 1_000
"""A longer gold answer is an error in the data, unless an answer equals it as text: math-verify could not read it in time."""
MAX_SEARCHED_CHARS: Final = 20_000
"""Maximum length of the end of a text that math-verify searches for an answer."""
CPU_SHARE: Final = 1 / 15
"""CPU seconds that an answer may use, as a share of its wall-clock seconds: see `GradingRules.timeout_s`."""
RULES_VERSION: Final = 4
"""Version of the rules by which answers are found and compared; raised whenever a grade can change. 1: math-verify alone;
2: answers are read as typed values first; 3: more ways to write them, stricter intervals, compound units, dates and logarithms;
4: named points, vectors of unit vectors, inequalities in set builders, roots of negative numbers, labels between boxes, Indian
and European groups of digits."""
LONGEST_SHOWN: Final = 300
"""Maximum characters of a parsed form, or of a failure, kept for people to read."""


class Extraction(StrEnum):
    """Where in a response the answer is."""

    BOXED = "boxed"
    r"""In the last ``\boxed{…}`` or ``\fbox{…}``."""
    BOXED_OR_ANSWER_LINE = "boxed_or_answer_line"
    """The same, or in a response without any box, after the last ``Answer:`` that begins a line."""
    ANSWER_LINE = "answer_line"
    """After the last ``Answer:`` that begins a line."""
    ANYWHERE = "anywhere"
    """Anywhere that math-verify finds one: unboxed answers count. Lenient: a response that mentions the gold answer last is
    correct. The reference code of E-SPL grades this way, so choose this to compare numbers with it."""


class MatchType(StrEnum):
    """What math-verify searches a text for; the names of its own extractors."""

    LATEX = "latex"
    """Formulas between ``$``, brackets or in a box."""
    EXPR = "expr"
    """Plain numbers and arithmetic."""
    STRING = "string"
    """One of the letters A to D, as in multiple choice."""


@dataclass(frozen=True, slots=True)
class GradingRules:
    """Grading rules of an environment. The defaults fit competition maths."""

    extraction: Extraction = Extraction.BOXED
    match_types: tuple[MatchType, ...] = (MatchType.LATEX, MatchType.EXPR)
    """Used only by `Extraction.ANYWHERE`: an extracted answer is one formula."""
    strict: bool = True
    """math-verify's: variables matter, and a set is not a tuple."""
    allow_set_relation_comp: bool = True
    """math-verify's: an inequality may answer a question whose gold answer is a set; the converse always may."""
    float_rounding: int = 6
    """math-verify's: decimals to which a number is rounded when one of the two is a decimal fraction."""
    numeric_precision: int = 15
    """math-verify's: digits to which two formulas are evaluated when their values are compared."""
    timeout_s: float = 15.0
    """Seconds of wall clock that one attempt at an answer may take; `CPU_SHARE` of it in CPU time. The CPU limit
    ends an answer that does not end by itself: other work on the machine does not use it up. The clock only guards
    against a process that gets no CPU."""
    memory_mib: int = 256
    """MiB of memory that one answer may take, on top of the grader's own. At four times this, allocations fail."""

    def __post_init__(self) -> None:
        """Raise UsageError for limits within which nothing could be graded."""
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise UsageError(f"grading: timeout_s must be more than 0 seconds, not {self.timeout_s!r}")
        if self.memory_mib < 1:
            raise UsageError(f"grading: memory_mib must be at least 1, not {self.memory_mib!r}")
        if not self.match_types:
            raise UsageError(f"grading: match_types names nothing to look for; choose from {', '.join(MatchType)}")

    @property
    def cpu_s(self) -> float:
        """CPU seconds that one attempt at an answer may use."""
        return self.timeout_s * CPU_SHARE


def rules_of(extraction: str) -> GradingRules:
    """Return the rules of competition mathematics with another place of the answer. Raises UsageError for an unknown one."""
    if extraction not in list(Extraction):
        raise unknown("extraction", str(extraction), Extraction)
    return GradingRules(Extraction(extraction))


class How(StrEnum):
    """What decided an outcome."""

    EXTRACTION = "extraction"
    """There was no answer to compare, or none short enough."""
    INTEGER = "integer"
    """Both are integers and were compared digit by digit."""
    TEXT = "text"
    """The answer equals the gold answer, character by character except for white space."""
    READING = "reading"
    """Both were read as values or as words, and these were compared."""
    MATH_VERIFY = "math_verify"
    """math-verify compared them: it was asked to search a text, or knows a sign that the reading does not."""


@dataclass(frozen=True, slots=True)
class Grade:
    """The grade of one response."""

    outcome: Outcome
    extracted: str | None
    """The answer as written in the response; None if there is none."""
    how: How
    detail: str
    """Reason in one line, without quoting the model."""
