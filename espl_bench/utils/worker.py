"""A worker of worker_pool.py: ``python -m espl_bench.utils.worker MODULE:FUNCTION MEMORY_MIB``.

It answers one task after another until the other side has gone. It writes no file and leaves no core; CPU time and memory are bounded by
the kernel, whose signal ends it. A `RefusedTaskError` of the function is an answer; any other exception is one too, named by its kind.
"""

import importlib
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final

from espl_bench.utils.wire import RefusedTaskError, WireError, receive, send

LONGEST_FAULT: Final = 300
"""Maximum characters of a fault."""


def main(job: str, memory_mib: int) -> None:
    """Answer until the other side has gone."""
    requests, replies = _take_pipes()
    try:
        module, _, function = job.partition(":")
        work = getattr(importlib.import_module(module), function)
    except ImportError as error:
        send(replies, {"fault": str(error)})
        return
    _bound(memory_mib)
    send(replies, {"fault": None})
    try:
        while (message := receive(requests)) is not None:
            send(replies, _answer(work, message))
    except WireError:
        return


def _answer(work: Any, message: dict[str, Any]) -> dict[str, Any]:
    signal.setitimer(signal.ITIMER_PROF, message["cpu_s"] or 0)
    try:
        return {"fault": None, "result": work(message["task"])}
    except RefusedTaskError as refusal:
        fault = str(refusal)
    except MemoryError:
        fault = "it takes too much memory"
    except Exception as error:  # noqa: BLE001  # foreign text may raise anything in a parser; it is reported, not hidden
        fault = f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return {"fault": " ".join(fault.split())[:LONGEST_FAULT], "result": None}


def _take_pipes() -> tuple[int, int]:
    """Move standard input and output to other descriptors, so that nothing printed gets into the pipes."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    return requests, replies


def _bound(memory_mib: int) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory_mib * 2**20
    except OSError:  # a system that does not tell; the deadline holds all the same
        pass
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, allowed))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
