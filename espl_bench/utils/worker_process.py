"""A process that works on foreign text, from its owner's side: start, exchange messages, kill.

Whatever the text does to it, it costs the owner no more than a deadline: the process is a clean interpreter with a minimal environment
(no key, no token), in a session of its own, with a pipe each way, and is killed when time is up.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from espl_bench.utils.wire import WireError, WireTimeoutError, receive, send

START_LIMIT_S: Final = 120.0
"""Seconds of wall clock for importing and warming up: about 2 on an idle machine."""
_PASSED_ON: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that an interpreter may need in order to start, or to check a certificate."""
_OURS: Final = Path(__file__).resolve().parents[2]
"""Root of this package: the process runs the code that started it, even if that was found in the working directory."""


class WorkerStartError(Exception):
    """The process did not come up: what it said, in one line."""


class WorkerProcess:
    """One running module. Used by one thread at a time."""

    def __init__(self, module: str, arguments: Sequence[str] = ()) -> None:
        """Start the module and wait until it greets. Raises WorkerStartError."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
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

    def tell(self, message: Mapping[str, Any], deadline: float) -> None:
        """Send one message. Raises WireError, or WireTimeoutError after the deadline by `time.monotonic`."""
        send(self._requests, dict(message), deadline)

    def hear(self, deadline: float) -> dict[str, Any]:
        """Return the next message. Raises WireError if the process is gone, WireTimeoutError after the deadline."""
        message = receive(self._replies, deadline)
        if message is None:
            raise WireError("its pipe was closed")
        return message

    @property
    def alive(self) -> bool:
        """True if it can be asked."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of the process and of its group."""
        return self._process.pid

    def kill(self) -> None:
        """End it and its children at once. A second call does nothing."""
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


def _environment() -> dict[str, str]:
    """Return a minimal environment with our module paths. Hashes are fixed, since sympy's order of terms depends on them."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {
        **where_our_code_is(),
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
    }


def where_our_code_is() -> dict[str, str]:
    """Return the variables with which an interpreter finds the modules that this one finds, ours first."""
    folders = (str(_OURS), *(os.path.abspath(folder) for folder in sys.path if folder))
    return {"PYTHONPATH": os.pathsep.join(folders), "PYTHONSAFEPATH": "1"}
