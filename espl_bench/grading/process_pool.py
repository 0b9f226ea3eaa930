"""Grading processes shared by many threads, and the rule that makes a verdict independent of the load.

An attempt at an answer is ended by its CPU time, which other work on the machine does not use up. Even CPU time grows a
little where caches and cores are shared, and a starved process may run out of wall clock before it has computed anything;
so an attempt that was ended, in whatever way, is repeated once: in a fresh process, with nothing else being graded, and
with a longer clock. Only the second result counts. An answer that takes less than the limit when it has the pool to itself
is never reported as a timeout, because among others it either ends in time too or is repeated.
"""

import atexit
import os
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Self

from espl_bench.grading.process import GradingProcess, WorkerStartError
from espl_bench.grading.wire import GraderFinding, GraderReply, Question
from espl_bench.utils.system import usable_cores

MAX_SIZE: Final = 8
"""Largest default size of a pool. A process takes about 90 MB."""
PATIENCE: Final = 5
"""Factor of the wall clock that an attempt gets when it is repeated alone."""

_pools: "weakref.WeakSet[VerifierPool]" = weakref.WeakSet()
_shared_lock = threading.Lock()
_shared: "VerifierPool | None" = None


class VerifierPool:
    """Up to `size` grading processes, started when first needed. Thread-safe."""

    def __init__(self, size: int | None = None, function: str | None = None) -> None:
        """Set the size; processes start later.

        Args:
            function: ``module:function`` that the processes call, instead of comparing answers.
            size: maximum number of processes, at least 1; None: one per core that this process may use, up to `MAX_SIZE`.
        """
        self.size = _cores() if size is None else max(1, size)
        self._function = function
        self._reset()
        _pools.add(self)

    def ask(self, question: Question, limit_s: float) -> GraderReply:
        """Compare, wait for the reply, and try again alone if the first attempt was interrupted.

        Args:
            question: the answers to compare.
            limit_s: seconds of wall clock for the first attempt, without the wait for a free process.
        """
        reply = self._attempt(question, limit_s, alone=False)
        return self._attempt(question, limit_s * PATIENCE, alone=True) if reply.finding.interrupted else reply

    def close(self) -> None:
        """End all processes. Questions in progress and later ones get an error as reply."""
        with self._changed:
            self._closed = True
            processes = list(self._processes)
        for process in processes:
            process.kill()

    def pids(self) -> tuple[int, ...]:
        """Return the ids of the living processes."""
        with self._changed:
            return tuple(sorted(process.pid for process in self._processes if process.alive))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def forget(self) -> None:
        """Start over after a fork: the processes belong to the parent, so close their pipes here."""
        processes = list(self._processes)
        self._reset()
        for process in processes:
            process.forget()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._processes: set[GradingProcess] = set()
        """Every process that was started and not yet found dead."""
        self._idle: list[GradingProcess] = []
        self._busy = 0
        """Attempts in progress."""
        self._lonely = 0
        """Attempts that wait to be alone; no other begins before them."""
        self._alone = False
        """True while an attempt runs that must be alone."""
        self._closed = False

    def _attempt(self, question: Question, limit_s: float, alone: bool) -> GraderReply:
        with self._turn(alone):
            try:
                process = self._take()
            except WorkerStartError as fault:
                return GraderReply(GraderFinding.DIED, f"the grading process did not start: {fault}")
            if process is None:
                return GraderReply(GraderFinding.DIED, "the grading pool is closed")
            try:
                return process.ask(question, limit_s, fresh=alone)
            finally:
                self._give_back(process)

    @contextmanager
    def _turn(self, alone: bool) -> Generator[None]:
        """Wait for a free slot, or for all slots to be free."""
        with self._changed:
            if alone:
                self._lonely += 1
                try:
                    self._changed.wait_for(lambda: self._busy == 0)
                finally:
                    self._lonely -= 1
                    self._changed.notify_all()  # if the wait was interrupted, others may continue
                self._alone = True
            else:
                self._changed.wait_for(lambda: self._busy < self.size and not self._alone and not self._lonely)
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                if alone:
                    self._alone = False
                self._changed.notify_all()

    def _take(self) -> GradingProcess | None:
        """Return a living process, newly started if none is idle; None if the pool is closed. Raises WorkerStartError."""
        while True:
            with self._changed:
                if self._closed:
                    return None
                process = self._idle.pop() if self._idle else None
            if process is None:
                break
            if process.alive:
                return process
            self._drop(process)
        process = GradingProcess(self._function)
        with self._changed:
            if not self._closed:
                self._processes.add(process)
                return process
        process.kill()
        return None

    def _give_back(self, process: GradingProcess) -> None:
        if not process.alive:
            self._drop(process)
            return
        with self._changed:
            self._idle.append(process)

    def _drop(self, process: GradingProcess) -> None:
        process.kill()
        with self._changed:
            self._processes.discard(process)


def shared_pool() -> VerifierPool:
    """Return the pool of this process, made at its first use and closed when the process ends."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = VerifierPool()
            atexit.register(_shared.close)
        return _shared


def _cores() -> int:
    return min(usable_cores(), MAX_SIZE)


def _after_fork() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for pool in list(_pools):
        pool.forget()


os.register_at_fork(after_in_child=_after_fork)
