"""Run a tracker in a process of its own, for packages with services, threads and exit hooks that would outlive their failure.

    python -m espl_bench.monitoring.tracker_process NAME

reads JSON lines from stdin: first the run (`Tracked`), then ``[step, numbers]``; it answers each, and the end of its input, with one line
on stdout: a fault, or an empty text. What the package prints goes into a file of the run directory.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from espl_bench.errors import EsplError
from espl_bench.monitoring.trackers import KINDS, Tracked, Tracker, words_of
from espl_bench.utils import foreign_files

END_S = 60
"""Seconds after the end of its input after which the process is ended, whatever the package is doing."""


def log_of(name: str) -> str:
    """Return the name, inside a run directory, of the file with what a tracker's package prints."""
    return f"tracking-{name}.log"


class ProcessTracker:
    """A tracker in another process. It is called from one thread, which may have to wait for it."""

    def __init__(self, name: str, run: Tracked) -> None:
        """Start the process and open the tracker in it. Raises EsplError with the tracker's own words if that fails."""
        with foreign_files.open_log(run.folder / log_of(name)) as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "espl_bench.monitoring.tracker_process", name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the run, which will close us
            )
        assert self._process.stdin is not None and self._process.stdout is not None, "both are pipes"
        self._input, self._answers = self._process.stdin, self._process.stdout
        self._where = run.folder / log_of(name)
        self._tell({**asdict(run), "folder": str(run.folder)})

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Have it log. Raises EsplError if it could not."""
        self._tell([step, dict(numbers)])

    def close(self) -> None:
        """Have it flush and end. Raises EsplError if it could not."""
        self._input.close()
        self._hear()
        self._process.wait()

    def _tell(self, message: object) -> None:
        try:
            self._input.write(json.dumps(message).encode("ascii") + b"\n")
            self._input.flush()
        except BrokenPipeError:
            pass  # it has died: there is no answer either
        self._hear()

    def _hear(self) -> None:
        line = self._answers.readline()
        fault = json.loads(line) if line else f"its process has ended with status {self._process.wait()}"
        if fault:
            raise EsplError(f"{fault}; what it printed is in {self._where}")


def serve(name: str, lines: IO[bytes], answers: IO[bytes]) -> None:
    """Answer every line, as the module's docstring says, until the input ends or the tracker fails."""
    waiting: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(lines, waiting), daemon=True).start()
    tracker: Tracker | None = None
    while True:
        line = waiting.get()
        try:
            if tracker is None:
                tracker = _opened(name, line)
            elif line:
                step, numbers = json.loads(line)
                tracker.log(step, numbers)
            else:
                tracker.close()
            fault = ""
        except (Exception, SystemExit) as error:  # noqa: BLE001  # of any kind: it is for the run to say so and to go on
            fault = words_of(error)
        answers.write(json.dumps(fault).encode("ascii") + b"\n")
        answers.flush()
        if fault or not line:
            return


def _opened(name: str, line: bytes) -> Tracker:
    run: dict[str, Any] = json.loads(line)
    folder = Path(run.pop("folder"))
    return KINDS[name].open(Tracked(folder=folder, **run))


def _read(lines: IO[bytes], waiting: "SimpleQueue[bytes]") -> None:
    """Hand lines on. After the last, an empty one, have the system end this process in time, even if the package hangs."""
    for line in lines:
        waiting.put(line)
    signal.alarm(END_S)
    waiting.put(b"")


def main() -> None:
    """Serve one tracker. The package's exit hooks are not run: they wait for services that may be gone, and print tracebacks."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed
    serve(sys.argv[1], sys.stdin.buffer, answers)
    os._exit(0)


if __name__ == "__main__":
    main()
