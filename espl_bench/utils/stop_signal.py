"""A clean end on SIGINT or SIGTERM: the current iteration is finished and committed, then the run stops."""

import asyncio
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from espl_bench.errors import EsplError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRunError(EsplError):
    """The run was asked to stop, and stopped after saving."""

    def __init__(self, step: int, folder: Path) -> None:
        """`step` iterations are committed in `folder`."""
        super().__init__(f"stopped after step {step}, everything is saved; go on with: espl-bench resume {folder}")
        self.step = step
        self.folder = folder


class StopSignal:
    """Whether a stop was asked for."""

    def __init__(self) -> None:
        """Nothing asked yet."""
        self.wanted = False

    def ask(self) -> None:
        """Ask the loop to stop after the current iteration. May be called from any thread."""
        self.wanted = True

    def on_signal(self) -> None:
        """Ask for a stop; from now on a second signal ends the process at once."""
        self.ask()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def listening(stop: StopSignal) -> Generator[StopSignal]:
    """Turn SIGINT and SIGTERM into a request while a run is on. Outside the main thread signals are left alone."""
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
