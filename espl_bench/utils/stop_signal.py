"""Stop cleanly on SIGINT or SIGTERM: finish and save the current iteration, then end the run."""

import asyncio
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from espl_bench.errors import EsplError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRunError(EsplError):
    """The run was interrupted, and stopped after saving."""

    def __init__(self, step: int, folder: Path) -> None:
        """Build the message; `step` iterations are saved in `folder`."""
        super().__init__(f"stopped after step {step}, everything is saved; continue with: espl-bench resume {folder}")
        self.step = step
        self.folder = folder


class StopSignal:
    """A flag: has a stop been requested?"""

    def __init__(self) -> None:
        self.wanted = False

    def ask(self) -> None:
        """Ask the loop to stop after the current iteration. May be called from any thread."""
        self.wanted = True

    def on_signal(self) -> None:
        """Request a stop; a second signal then ends the process at once."""
        self.ask()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def listening(stop: StopSignal) -> Generator[StopSignal]:
    """Turn SIGINT and SIGTERM into a stop request during a run. Outside the main thread signals are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
