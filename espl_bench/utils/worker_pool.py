"""Work on foreign text in processes that can be killed, shared by many threads.

A job is a function from a JSON object to a JSON object, named ``module:function``, that runs in a worker (worker.py). Whatever a text
makes of it (a loop, a crash, memory without end), the caller gets a `WorkerError` in one line when the time is up, and the next task a
fresh process.
"""

import atexit
import os
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any, Final

from espl_bench.utils.system import usable_cores
from espl_bench.utils.wire import WireError, WireTimeoutError
from espl_bench.utils.worker_process import WorkerProcess, WorkerStartError

MEMORY_MIB: Final = 512
"""Memory that a task may take on top of the worker's own."""

_pools: "weakref.WeakSet[WorkerPool]" = weakref.WeakSet()


class WorkerError(Exception):
    """A task did not come to its end; says why in one line."""


class WorkerPool:
    """Up to `size` workers for one job, started when first needed and ended with this process. Thread-safe."""

    def __init__(self, job: str, size: int | None = None, memory_mib: int = MEMORY_MIB) -> None:
        """Set the job; workers start later.

        Args:
            job: ``module:function``.
            size: maximum number of workers; None: one per usable core, and at least two.
            memory_mib: see `MEMORY_MIB`.
        """
        self._job = job
        self._size = size or max(2, usable_cores())
        self._memory_mib = memory_mib
        self._reset()
        _pools.add(self)
        atexit.register(self.close)

    def ask(self, task: Mapping[str, Any], limit_s: float, cpu_s: float | None = None) -> dict[str, Any]:
        """Return the job's answer.

        Args:
            task: what the function is given.
            limit_s: seconds of wall clock, without the wait for a free worker; then the worker is killed.
            cpu_s: seconds of CPU time, likewise; None: no other limit.

        Raises:
            WorkerError: the task took too long or too much, or ended its worker.
        """
        with self._free:
            try:
                worker = self._take()
            except WorkerStartError as error:
                raise WorkerError(f"its process did not start ({error})") from error
            deadline = time.monotonic() + limit_s
            try:
                worker.tell({"task": dict(task), "cpu_s": cpu_s}, deadline)
                answer = worker.hear(deadline)
            except WireTimeoutError as error:
                self._drop(worker)
                raise WorkerError(f"it takes more than {limit_s:g} s") from error
            except WireError as error:
                self._drop(worker)
                raise WorkerError("it takes more time or memory than it may, or ended its process") from error
            except BaseException:  # such as Ctrl-C: its answer must not be taken for the next one's
                self._drop(worker)
                raise
            with self._lock:
                self._idle.append(worker)
        if answer["fault"] is not None:
            raise WorkerError(answer["fault"])
        return answer["result"]

    def close(self) -> None:
        """End all workers; later tasks start new ones."""
        with self._lock:
            workers, self._idle, self._all = list(self._all), [], set()
        for worker in workers:
            worker.kill()

    def forget(self) -> None:
        """Start over after a fork: the workers belong to the parent, so close their pipes here."""
        workers = list(self._all)
        self._reset()
        for worker in workers:
            worker.forget()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(self._size)
        self._idle: list[WorkerProcess] = []
        self._all: set[WorkerProcess] = set()

    def _take(self) -> WorkerProcess:
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                worker = WorkerProcess("espl_bench.utils.worker", (self._job, str(self._memory_mib)))
                with self._lock:
                    self._all.add(worker)
                return worker
            if worker.alive:
                return worker
            self._drop(worker)

    def _drop(self, worker: WorkerProcess) -> None:
        worker.kill()
        with self._lock:
            self._all.discard(worker)


def _after_fork() -> None:
    for pool in list(_pools):
        pool.forget()


os.register_at_fork(after_in_child=_after_fork)
