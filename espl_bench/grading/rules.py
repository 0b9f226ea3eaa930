"""What a grader is asked for and what it finds, as frozen data.

Every limit stands here, with the reason for its value. ``docs/grading.md`` holds the measurements.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from espl_bench.errors import UsageError
from espl_bench.types import Outcome

MAX_ANSWER_CHARS: Final = 500
"""A longer answer is wrong, unless it equals the gold answer as an integer or as text, or is at most `LENGTH_RATIO` times as
long as that. It is an answer, so it is not missing; it is none that a person would give to a question whose answer is short
(at most 53 characters in the public sets that the project is tested with); and a loop such as ``x^x^x^…`` would otherwise end
as a timeout, which no policy learns from."""
LENGTH_RATIO: Final = 4
MAX_GOLD_CHARS: Final = 1_000
"""A longer gold answer is an error in the data, unless an answer equals it as text: math-verify could not read it in time."""
MAX_SEARCHED_CHARS: Final = 20_000
"""Where math-verify searches a text for the answer, it is given the end of the text, at most this long."""
CPU_SHARE: Final = 1 / 15
"""CPU seconds that an answer may use, as a share of the seconds it may take: see `GradingRules.timeout_s`."""
LONGEST_SHOWN: Final = 300
"""Characters of a parsed form, or of what went wrong, that are kept for people to read."""


class Extraction(StrEnum):
    """Where in a response the answer stands."""

    BOXED = "boxed"
    r"""In the last ``\boxed{…}`` or ``\fbox{…}``."""
    BOXED_OR_ANSWER_LINE = "boxed_or_answer_line"
    """The same, or in a response without any box, behind the last ``Answer:`` that begins a line."""
    ANSWER_LINE = "answer_line"
    """Behind the last ``Answer:`` that begins a line."""
    ANYWHERE = "anywhere"
    """Wherever math-verify finds one: unboxed answers count. Lenient: a response that mentions the gold answer last is
    right. The reference code of E-SPL grades this way, so this is the choice for comparing numbers with it."""


class MatchType(StrEnum):
    """What math-verify looks for where it searches a text; the names of its own extractors."""

    LATEX = "latex"
    """Formulas between ``$``, brackets or in a box."""
    EXPR = "expr"
    """Plain numbers and arithmetic."""
    STRING = "string"
    """One of the letters A to D, as in multiple choice."""


@dataclass(frozen=True, slots=True)
class GradingRules:
    """How an environment grades. The defaults fit competition maths."""

    extraction: Extraction = Extraction.BOXED
    match_types: tuple[MatchType, ...] = (MatchType.LATEX, MatchType.EXPR)
    """Used by `Extraction.ANYWHERE` alone: an extracted answer is one formula."""
    strict: bool = True
    """math-verify's: variables matter, and a set is no tuple."""
    allow_set_relation_comp: bool = False
    """math-verify's: an inequality may answer a question whose gold answer is a set; the converse always may."""
    float_rounding: int = 6
    """math-verify's: decimals to which a number is rounded when one of the two is a decimal fraction."""
    numeric_precision: int = 15
    """math-verify's: digits to which two formulas are evaluated when their values are compared."""
    timeout_s: float = 15.0
    """Seconds of wall clock that one attempt at an answer may take; `CPU_SHARE` of it in CPU time. The CPU time is
    what ends an answer that does not end by itself: other work on the machine does not use it up. The clock only guards
    against a process that gets no CPU."""
    memory_mib: int = 256
    """MiB of memory that one answer may take, on top of the grader's own. At four times this, allocations fail."""

    def __post_init__(self) -> None:
        """Raises UsageError for limits within which nothing could be graded."""
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


class How(StrEnum):
    """By what an outcome was decided."""

    EXTRACTION = "extraction"
    """There was no answer to compare, or none short enough."""
    INTEGER = "integer"
    """Both are integers and were compared digit by digit."""
    TEXT = "text"
    """The answer is the gold answer, character by character but for white space."""
    MATH_VERIFY = "math_verify"


@dataclass(frozen=True, slots=True)
class Grade:
    """What was found in one response."""

    outcome: Outcome
    extracted: str | None
    """The answer as it stands in the response; None if there is none."""
    how: How
    detail: str
    """Why, in one line without what the model wrote."""
