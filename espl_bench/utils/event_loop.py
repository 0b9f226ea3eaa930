"""Run work from synchronous code: a coroutine, even inside the event loop of a notebook, or a call that Ctrl-C does not wait for."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

Result = TypeVar("Result")

WAKE_S = 0.5
"""Seconds after which a waiting thread wakes up: a signal that another thread received is handled only then."""


def run_to_end(work: Coroutine[Any, Any, Result], on_interrupt: Callable[[], None]) -> Result:
    """Return what the coroutine returns.

    Runs it in this thread; if this thread has a running event loop, in another thread, while this one waits. Signals reach the main thread
    only, so in the second case Ctrl-C calls `on_interrupt`, and the coroutine is waited for; a second Ctrl-C is raised.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1, thread_name_prefix="espl-bench") as thread:
        done = thread.submit(asyncio.run, work)
        try:
            return _result(done)
        except KeyboardInterrupt:
            on_interrupt()
            return _result(done)


def run_apart(work: Callable[[], Result]) -> Result:
    """Return what `work` returns, which runs in another thread.

    Ctrl-C is raised here at once, whatever the work is at. Its thread then goes on, and a process that ends as usual waits for it.
    """
    return _result(ThreadPoolExecutor(1, thread_name_prefix="espl-bench").submit(work))


def _result(done: Future[Result]) -> Result:
    while not done.done():
        wait([done], WAKE_S)
    return done.result()
