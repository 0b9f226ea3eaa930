"""One grading process, from its owner's side: ask, and kill what takes too long."""

import time
from dataclasses import asdict

from espl_bench.grading.wire import GraderFinding, GraderQuestion, GraderReply
from espl_bench.utils.wire import WireError, WireTimeoutError
from espl_bench.utils.worker_process import WorkerProcess, WorkerStartError

__all__ = ["GradingProcess", "WorkerStartError"]


class GradingProcess(WorkerProcess):
    """A warm grader. Used by one thread at a time."""

    def __init__(self) -> None:
        """Start it and wait until it is warm. Raises WorkerStartError."""
        self._number = 0
        super().__init__("espl_bench.grading.grade_worker")

    def ask(self, question: GraderQuestion, limit_s: float, fresh: bool) -> GraderReply:
        """Ask and wait for the reply.

        Args:
            question: the answers to compare.
            limit_s: seconds of wall clock; after that the process is killed and must not be used again.
            fresh: use a child that has answered nothing before.
        """
        self._number += 1
        deadline = time.monotonic() + limit_s
        try:
            if fresh:
                self.tell({"renew": True}, deadline)
            self.tell({"question": asdict(question), "number": self._number}, deadline)
            return self._reply(deadline)
        except WireTimeoutError:
            self.kill()
            return GraderReply(GraderFinding.CLOCK, f"it took more than {limit_s:g} s")
        except WireError as fault:
            self.kill()
            return GraderReply(GraderFinding.DIED, f"the grading process ended: {fault}")
        except BaseException:  # such as Ctrl-C: a reply in progress must not be taken for the next one
            self.kill()
            raise

    def _reply(self, deadline: float) -> GraderReply:
        """Return the reply to the last question."""
        while True:
            message = self.hear(deadline)
            if message["number"] in (self._number, None):
                return GraderReply.of(message["reply"])
