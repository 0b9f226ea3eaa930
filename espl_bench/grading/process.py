"""One grading process, as its owner sees it: start it, ask it, kill it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from espl_bench.grading.wire import GraderFinding, GraderQuestion, GraderReply, WireError, WireTimeoutError, receive, send

START_LIMIT_S: Final = 120.0
"""Seconds of wall clock for importing and warming up math-verify: about 2 on an idle machine."""
_PASSED_ON: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables that an interpreter may need in order to start."""
_OURS: Final = Path(__file__).resolve().parents[2]
"""Where this package lies: the process runs the code that started it, even if that was found in the working directory."""


class WorkerStartError(Exception):
    """The grading process did not come up: what it said, in one line."""


class GradingProcess:
    """A clean interpreter in a session of its own, with a pipe each way. Used by one thread at a time."""

    def __init__(self) -> None:
        """Start it and wait until it is warm. Raises WorkerStartError."""
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "espl_bench.grading.grade_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=_environment(),
            cwd=os.sep,
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._replies = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        try:
            self._greet()
        except BaseException:
            self.kill()
            raise

    def ask(self, question: GraderQuestion, limit_s: float, fresh: bool) -> GraderReply:
        """Ask and wait.

        Args:
            question: what to compare.
            limit_s: seconds of wall clock; when they are over the process is killed and must not be used again.
            fresh: have it answered by a child that has answered nothing before.
        """
        self._number += 1
        deadline = time.monotonic() + limit_s
        try:
            if fresh:
                send(self._requests, {"renew": True}, deadline)
            send(self._requests, {"question": asdict(question), "number": self._number}, deadline)
            return self._reply(deadline)
        except WireTimeoutError:
            self.kill()
            return GraderReply(GraderFinding.CLOCK, f"it took more than {limit_s:g} s")
        except WireError as fault:
            self.kill()
            return GraderReply(GraderFinding.DIED, f"the grading process ended: {fault}")
        except BaseException:  # such as Ctrl-C: what is under way here must not be taken for the next reply
            self.kill()
            raise

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of the process, and of its group."""
        return self._process.pid

    def kill(self) -> None:
        """End it and its child at once; doing so twice is harmless."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.forget()

    def forget(self) -> None:
        """Close the pipes. After a fork: without touching the process, which is the other side's."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _greet(self) -> None:
        try:
            greeting = receive(self._replies, time.monotonic() + START_LIMIT_S)
        except WireTimeoutError as error:
            raise WorkerStartError(f"it was not ready after {START_LIMIT_S:g} s") from error
        except WireError as error:
            raise WorkerStartError(str(error)) from error
        if greeting is None:
            raise WorkerStartError(f"it ended with status {self._process.wait()}")
        if greeting["fault"]:
            raise WorkerStartError(greeting["fault"])

    def _reply(self, deadline: float) -> GraderReply:
        """The reply to the last question, or the news that nobody is left to give one."""
        while True:
            message = receive(self._replies, deadline)
            if message is None:
                raise WireError("its pipe was closed")
            if message["number"] in (self._number, None):
                return GraderReply.of(message["reply"])


def _environment() -> dict[str, str]:
    """Nothing of ours but where modules are found. Hashes are fixed, because sympy's order of terms depends on them."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(_OURS), *(os.path.abspath(folder) for folder in sys.path if folder)]),
        "PYTHONSAFEPATH": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
    }
