"""Questions to a grading process and its replies, as they go over the wire (utils/wire.py)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class GraderQuestion:
    """One gold answer and one answer, to be compared by math-verify."""

    gold: str
    answer: str
    search: tuple[str, ...]
    """Extractors with which both texts are searched; empty if each is one formula."""
    strict: bool
    allow_set_relation_comp: bool
    float_rounding: int
    numeric_precision: int
    cpu_s: float
    """CPU seconds after which the kernel ends the attempt."""
    memory_mib: int
    describe: bool = False
    """Also return how both were read: for people, since printing a formula takes time."""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "GraderQuestion":
        """Convert from the wire, where tuples are lists."""
        values: dict[str, Any] = fields | {"search": tuple(fields["search"])}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class FunctionQuestion:
    """One call of somebody's own grader."""

    payload: Any
    """What the function is given: anything that JSON can hold."""
    cpu_s: float
    memory_mib: int

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "FunctionQuestion":
        """Convert from the wire."""
        return cls(**fields)


Question = GraderQuestion | FunctionQuestion


class GraderFinding(StrEnum):
    """Result of a question."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NO_ANSWER = "no_answer"
    """math-verify found nothing to compare in the answer."""
    NO_GOLD = "no_gold"
    """math-verify found nothing to compare in the gold answer."""
    ANSWERED = "answered"
    """A function returned a value."""
    RAISED = "raised"
    """math-verify, or the function, raised an exception."""
    CPU = "cpu"
    """The attempt used up its CPU time."""
    CLOCK = "clock"
    """The attempt took too long by the clock."""
    MEMORY = "memory"
    """The attempt took too much memory."""
    FORBIDDEN = "forbidden"
    """It led to something that the process may not do, such as opening a file."""
    DIED = "died"
    """The process ended in another way."""

    @property
    def interrupted(self) -> bool:
        """True if the question was not answered, so that a second attempt may end differently."""
        return self in _INTERRUPTED


_INTERRUPTED = (GraderFinding.CPU, GraderFinding.CLOCK, GraderFinding.MEMORY, GraderFinding.FORBIDDEN, GraderFinding.DIED)


@dataclass(frozen=True, slots=True)
class GraderReply:
    """The answer to a question."""

    finding: GraderFinding
    detail: str = ""
    gold_form: str = ""
    """How the gold answer was read, if requested."""
    answer_form: str = ""
    read: bool = False
    """True if both sides were read as values or words here, and math-verify was not asked."""
    value: Any = None
    """What a function returned."""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "GraderReply":
        """Convert from the wire, where a finding is its name."""
        values: dict[str, Any] = fields | {"finding": GraderFinding(fields["finding"])}
        return cls(**values)
