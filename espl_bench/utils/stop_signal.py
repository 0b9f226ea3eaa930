"""Stop cleanly on SIGINT, SIGTERM or SIGHUP: finish and save the current iteration, then end the run."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from espl_bench.errors import EsplError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a scheduler's notice, and the end of the terminal."""
STOPPED_BY_CTRL_C = 130
"""Exit code that Typer gives a KeyboardInterrupt."""


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that stop this process: not SIGHUP if it is ignored, as under ``nohup``."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in SIGNALS if not (ignored and number is signal.SIGHUP))


@contextmanager
def raising() -> Generator[None]:
    """Have SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does, where no run listens to them. For the main thread."""
    before = {number: signal.getsignal(number) for number in stop_signals() if number is not signal.SIGINT}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
        for number in stop_signals():
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def listening(stop: StopSignal) -> Generator[StopSignal]:
    """Turn SIGINT, SIGTERM and SIGHUP into a stop request during a run. Outside the main thread signals are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    import asyncio  # takes a tenth of a second, and the command line needs the rest of this module

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in stop_signals()}
    for number in before:
        loop.add_signal_handler(number, stop.on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
