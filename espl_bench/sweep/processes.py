"""Run processes, a few at a time: start them, pass a stop on to them, and report how each ended.

Each child has a process group of its own, so that Ctrl-C reaches it once, through us, and not a second time from the
terminal: upon one SIGINT a run saves and stops, upon a second it ends at once. If we are killed, the kernel stops the children
(bound_process.py).
"""

import asyncio
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

from espl_bench.sweep import bound_process
from espl_bench.utils import foreign_files
from espl_bench.utils.disk_refusals import unwritten
from espl_bench.utils.stop_signal import stop_signals
from espl_bench.utils.system import usable_cores

THREADS = "OMP_NUM_THREADS"


class RunStatus(StrEnum):
    """How one run ended."""

    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Job:
    """One run as a process."""

    folder: Path
    command: tuple[str, ...]
    """The program and its arguments."""
    iterations: int
    """Total number of steps."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    @property
    def log(self) -> Path:
        """File with the process's stderr."""
        return self.folder.with_name(f"{self.name}.log")


@dataclass(frozen=True, slots=True)
class JobResult:
    """The end of one run."""

    job: Job
    fate: RunStatus
    reason: str = ""
    """Why it did not finish, in one line."""


class Watcher(Protocol):
    """Is notified when runs start and end."""

    def started(self, job: Job) -> None:
        """Handle the start of a process."""
        ...

    def ended(self, result: JobResult) -> None:
        """Handle the end of a process."""
        ...


def run_all(jobs: Sequence[Job], at_a_time: int, watcher: Watcher) -> list[JobResult]:
    """Run every job. Return results of those that were started, in the order they ended; all of them unless stopped."""
    return asyncio.run(_Pool(at_a_time, watcher).run(jobs))


def with_threads(environment: Mapping[str, str], at_a_time: int) -> dict[str, str]:
    """Return an environment that divides the cores, unless the caller has set the number of threads."""
    return {THREADS: str(max(1, usable_cores() // at_a_time)), **environment}


class _Pool:
    def __init__(self, at_a_time: int, watcher: Watcher) -> None:
        self._at_a_time = at_a_time
        self._watcher = watcher
        self._running: set[asyncio.subprocess.Process] = set()
        self._stopping = False
        self._results: list[JobResult] = []

    async def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        loop = asyncio.get_running_loop()
        stopping = stop_signals()
        for number in stopping:
            loop.add_signal_handler(number, self._stop)  # passed on to the children as SIGINT
        waiting = deque(jobs)
        try:
            await asyncio.gather(*(self._work_off(waiting) for _ in range(self._at_a_time)))
        finally:
            for number in stopping:
                loop.remove_signal_handler(number)
        return self._results

    async def _work_off(self, waiting: deque[Job]) -> None:
        while waiting and not self._stopping:
            job = waiting.popleft()
            result = await self._run(job)
            self._results.append(result)
            self._watcher.ended(result)

    async def _run(self, job: Job) -> JobResult:
        try:
            log = foreign_files.open_log(job.log)
        except OSError as error:
            return JobResult(job, RunStatus.FAILED, f"{unwritten(job.log, error)} and repeat the command")
        with log:
            process = await self._start(job, log)
        self._running.add(process)
        self._watcher.started(job)
        if self._stopping:
            process.send_signal(signal.SIGINT)
        code = await process.wait()
        self._running.discard(process)
        reason = _reason(job, code)
        if foreign_files.is_file(job.log) and not foreign_files.size(job.log):
            foreign_files.remove(job.log)
        if code == 0:
            return JobResult(job, RunStatus.FINISHED)
        return JobResult(job, RunStatus.STOPPED if self._stopping else RunStatus.FAILED, reason)

    async def _start(self, job: Job, log: BinaryIO) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *_bound(job.command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=log,
            env=with_threads(os.environ, self._at_a_time),
            process_group=0,
        )

    def _stop(self) -> None:
        self._stopping = True
        for process in self._running:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)


def _bound(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command of a process that does not outlive this one."""
    return (sys.executable, "-I", "-S", bound_process.__file__, str(os.getpid()), *command)


def _reason(job: Job, code: int) -> str:
    """Return the last line of a process, or how it ended."""
    said = foreign_files.read_bytes(job.log).decode("utf-8", "replace").split("\n") if foreign_files.is_file(job.log) else []
    lines = [line.strip() for line in said if line.strip()]
    ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    if code > 0 and not lines and job.log.parent.exists() and not shutil.disk_usage(job.log.parent).free:
        return f"{ended}, and no space left for its log; free space and repeat the command"
    return lines[-1].removeprefix("espl-bench: ") if lines and code > 0 else ended
