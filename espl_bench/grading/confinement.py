"""Confine a grading process: it may compute, read Python's own files, and answer.

math-verify evaluates nothing that a model writes as code (``docs/grading.md`` lists every place that was checked). This is
a second barrier, in case that is wrong or stops being true: the process has no files to write, no children and no sockets.
Trying to use one ends the process; sympy's ``except`` clauses could swallow an exception.
"""

import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

FORBIDDEN_EXIT: Final = 86
"""Exit status of a process that tried something forbidden."""
HARD_LIMIT_FACTOR: Final = 4
"""Allocations fail at this many times an answer's memory. A failed allocation is an exception that sympy may swallow, and
then a wrong answer; by then the process has touched more than an answer's memory, which is what counts as a failure."""

_OPEN_FILES: Final = 32
_FORBIDDEN_MODULES: Final = frozenset(
    {"os", "ctypes", "ftplib", "http", "mmap", "pty", "shutil", "smtplib", "socket", "sqlite3", "subprocess", "tempfile", "urllib"}
)
"""Modules whose audit events grading never needs."""
_ALLOWED_EVENTS: Final = frozenset({"os.listdir", "os.scandir"})
"""Events of importing a module."""
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_KIB_PER_MAXRSS: Final = 1 / 1024 if sys.platform == "darwin" else 1


def confine() -> None:
    """Give up everything that grading does not need, in this process and for good."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,  # does not bind root, hence the hook below
        resource.RLIMIT_NOFILE: _OPEN_FILES,
    }
    for kind, limit in wanted.items():
        allowed = _at_most(kind, limit)
        resource.setrlimit(kind, (allowed, allowed))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    sys.addaudithook(_Watch(_readable_roots()))


def _readable_roots() -> tuple[str, ...]:
    """Return the folders that Python's own files are read from."""
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)}
    folders |= {str(Path(folder).resolve()) for folder in folders}
    return tuple(f"{folder}{os.sep}" for folder in folders)


class _Watch:
    """An audit hook that ends the process at the first forbidden event."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = tuple(roots)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if _is_pseudo_file(*arguments):  # for the message of a syntax error, Python looks for a file <string>
                raise FileNotFoundError(arguments[0])
            if not self._may_open(*arguments):
                os._exit(FORBIDDEN_EXIT)
        elif event.partition(".")[0] in _FORBIDDEN_MODULES and event not in _ALLOWED_EVENTS:
            os._exit(FORBIDDEN_EXIT)

    def _may_open(self, path: Any, _mode: Any, flags: Any) -> bool:
        return isinstance(path, str) and isinstance(flags, int) and not flags & _WRITING and path.startswith(self._roots)


def _is_pseudo_file(path: Any, mode: Any, flags: Any) -> bool:
    """Return True for reading a name in angle brackets that Python gives to source text without a file."""
    return isinstance(path, str) and path.startswith("<") and path.endswith(">") and "/" not in path and not (flags or 0) & _WRITING


class MemoryLimit:
    """Memory that one answer takes, on top of the process's memory at the start."""

    def __init__(self) -> None:
        """Measure the current memory."""
        self._resident = _peak_kib()
        self._mapped = _mapped_bytes()

    def limit(self, mib: int) -> None:
        """Make allocations fail far above an answer's memory. On platforms that cannot, only `grown_mib` counts."""
        if self._mapped is not None:
            soft = _at_most(resource.RLIMIT_AS, self._mapped + HARD_LIMIT_FACTOR * mib * 2**20)
            resource.setrlimit(resource.RLIMIT_AS, (soft, resource.getrlimit(resource.RLIMIT_AS)[1]))

    def grown_mib(self) -> float:
        """Return the MiB by which the process's peak exceeds its memory at the start."""
        return (_peak_kib() - self._resident) / 1024


def _at_most(kind: int, limit: int) -> int:
    """Return a limit, or the hard limit we were started with if that is lower."""
    _, hard = resource.getrlimit(kind)
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def _peak_kib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB_PER_MAXRSS


def _mapped_bytes() -> int | None:
    """Return the size of the address space; None where the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return None
    return pages * resource.getpagesize()
