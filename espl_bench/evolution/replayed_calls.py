"""Calls of an optimizer that is synchronous, and keeps no state that could be stored as JSON.

It runs in a thread, and its calls are answered on the run's event loop. Every answer is recorded and part of each checkpoint. If the
optimizer is deterministic given its seed and these answers, a resumed run begins it anew, answers from the record as long as that lasts,
and so goes on where it stopped.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from espl_bench.evolution.optimizer import Harness

Answered = TypeVar("Answered")


@dataclass
class ReplayedCalls:
    """The calls of one optimizer. Answers must be JSON values."""

    harness: Harness
    loop: asyncio.AbstractEventLoop
    answers: list[Any]
    """Answers to all calls so far, those of earlier processes included."""
    given: int = 0
    """Calls of this process, replayed ones included."""
    fault: Exception | None = None
    """What a call raised: a library may log it, and go on."""

    @classmethod
    def of(cls, harness: Harness) -> "ReplayedCalls":
        """Begin, or begin again. Call it on the run's event loop."""
        return cls(harness, asyncio.get_running_loop(), list((harness.restored or {}).get("answers", ())))

    def answer(self, call: Coroutine[Any, Any, Answered]) -> Answered:
        """Return the recorded answer to this call, or make it."""
        if self.given < len(self.answers):
            call.close()
        else:
            self.answers.append(self._on_loop(call))
        self.given += 1
        return self.answers[self.given - 1]

    def commit(self) -> bool:
        """Commit between two steps of the optimizer; False while answers are replayed, which were committed before.

        Raises what a call raised, and InterruptedRunError if the run was asked to stop.
        """
        if self.fault is not None:
            raise self.fault
        if self.given < len(self.answers):
            return False
        self._on_loop(self.harness.checkpoint({"answers": self.answers}))
        return True

    def _on_loop(self, call: Coroutine[Any, Any, Answered]) -> Answered:
        try:
            return asyncio.run_coroutine_threadsafe(call, self.loop).result()
        except Exception as fault:  # handed on, because a library may keep it to itself
            self.fault = fault
            raise
