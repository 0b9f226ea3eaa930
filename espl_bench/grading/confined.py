"""Anybody's own grader in the same confinement as the project's: ``module:function``, JSON in, JSON out.

    with ConfinedFunction("my_package.graders:score") as score:
        result = score({"answer": text, "entry": entry})   # ConfinedResult(value=0.5, outcome=wrong)

The module is imported once in a process of its own, whose children call the function: killable, bounded in time and memory, without
network, without other processes, and with no file but Python's own to read. For graders that evaluate what a model wrote. What
such a grader imports only when it is called must lie in Python's own folders.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Final, Self

from espl_bench.errors import UsageError
from espl_bench.grading.process_pool import VerifierPool
from espl_bench.grading.rules import CPU_SHARE
from espl_bench.grading.wire import FunctionQuestion, GraderFinding
from espl_bench.types import Outcome

_TARGET: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_FAILURES: Final = {GraderFinding.CPU: Outcome.TIMEOUT, GraderFinding.CLOCK: Outcome.TIMEOUT}


@dataclass(frozen=True, slots=True)
class ConfinedResult:
    """What came of one call."""

    value: Any
    """What the function returned, as JSON has it; None if it did not return."""
    fault: str
    """Why it did not return, in one line; empty if it did."""
    finding: GraderFinding

    @property
    def outcome(self) -> Outcome:
        """Return the outcome of a score: correct from 1 on, or for True; a call that did not return is a timeout or an error."""
        if self.finding is not GraderFinding.ANSWERED:
            return _FAILURES.get(self.finding, Outcome.ERROR)
        if isinstance(self.value, bool | int | float) and not math.isnan(self.value):
            return Outcome.CORRECT if self.value >= 1 else Outcome.WRONG
        return Outcome.ERROR


class ConfinedFunction:
    """A function in grading processes of its own. Thread-safe."""

    def __init__(self, function: str, timeout_s: float = 15.0, memory_mib: int = 256, size: int | None = None) -> None:
        """Name the function; processes start at the first call.

        Args:
            function: ``module:function``; it takes one value that JSON can hold, and returns one.
            timeout_s: seconds of wall clock that a call may take, and a fifteenth of it in CPU time, as for `GradingRules`.
            memory_mib: MiB of memory that a call may take.
            size: maximum number of processes; None: see `VerifierPool`.

        Raises:
            UsageError: `function` is not ``module:function``, or a limit leaves nothing.
        """
        if not _TARGET.fullmatch(function):
            raise UsageError(f"a grader is named as module:function, not {function!r}")
        if not (math.isfinite(timeout_s) and timeout_s > 0) or memory_mib < 1:
            raise UsageError(f"{function}: timeout_s must be more than 0 and memory_mib at least 1, not {timeout_s!r} and {memory_mib!r}")
        self._timeout_s = timeout_s
        self._memory_mib = memory_mib
        self._pool = VerifierPool(size, function)

    def __call__(self, payload: Any) -> ConfinedResult:
        """Call the function. Never raises for what it does; TypeError if the payload is nothing that JSON can hold."""
        question = FunctionQuestion(payload, self._timeout_s * CPU_SHARE, self._memory_mib)
        reply = self._pool.ask(question, self._timeout_s)
        return ConfinedResult(reply.value, reply.detail, reply.finding)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
