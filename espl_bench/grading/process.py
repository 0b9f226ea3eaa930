"""One grading process, from its owner's side: start, ask, kill."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from espl_bench.grading.wire import GraderFinding, GraderReply, Question, WireError, WireTimeoutError, receive, send

START_LIMIT_S: Final = 120.0
"""Seconds of wall clock for importing and warming up math-verify: about 2 on an idle machine."""
_PASSED_ON: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Environment variables that an interpreter may need in order to start."""
_OURS: Final = Path(__file__).resolve().parents[2]
"""Root of this package: the process runs the code that started it, even if that was found in the working directory."""


class WorkerStartError(Exception):
    """The grading process did not come up: what it said, in one line."""


class GradingProcess:
    """A clean interpreter in a session of its own, with a pipe each way. Used by one thread at a time."""

    def __init__(self, function: str | None = None) -> None:
        """Start it and wait until it is warm. `function`: ``module:function`` to call instead of comparing. Raises WorkerStartError."""
        self._number = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "espl_bench.grading.grade_worker", *([function] if function else [])],
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

    def ask(self, question: Question, limit_s: float, fresh: bool) -> GraderReply:
        """Ask and wait for the reply.

        Args:
            question: what to compare, or to call the function with.
            limit_s: seconds of wall clock; after that the process is killed and must not be used again.
            fresh: use a child that has answered nothing before.
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
        except BaseException:  # such as Ctrl-C: a reply in progress must not be taken for the next one
            self.kill()
            raise

    @property
    def alive(self) -> bool:
        """True if it can be asked."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of the process and of its group."""
        return self._process.pid

    def kill(self) -> None:
        """End it and its child at once. A second call does nothing."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.forget()

    def forget(self) -> None:
        """Close the pipes. After a fork, this leaves the process alone, which belongs to the parent."""
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
        """Return the reply to the last question, or raise WireError if the process is gone."""
        while True:
            message = receive(self._replies, deadline)
            if message is None:
                raise WireError("its pipe was closed")
            if message["number"] in (self._number, None):
                return GraderReply.of(message["reply"])


def _environment() -> dict[str, str]:
    """Return a minimal environment with our module paths. Hashes are fixed, since sympy's order of terms depends on them."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {
        "PYTHONPATH": os.pathsep.join([str(_OURS), *(os.path.abspath(folder) for folder in sys.path if folder)]),
        "PYTHONSAFEPATH": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
    }
