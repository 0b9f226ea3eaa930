"""Read pages of the web in processes of their own: what a page does to its reader ends that reading, never the run.

The whole of it, from the look-up of the name to the last word, is done by a worker that has no key in its environment, writes no files,
and is killed when the time is up.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from espl_bench.errors import UsageError
from espl_bench.retrieval.retriever import RetrievalError
from espl_bench.utils.wire import RefusedTaskError
from espl_bench.utils.worker_pool import WorkerError, WorkerPool

JOB: Final = "espl_bench.retrieval.pages:read"
SIZE: Final = 8
"""Pages that are read at a time. A worker takes about 40 MB."""
CPU_S: Final = 5.0
"""CPU seconds of one page; the largest ordinary one takes less than one."""
PAGE_CHARS: Final = 4_000
"""Maximum characters of a page's text that are kept."""
GRACE_S: Final = 1.0
"""Seconds after a page's deadline at which its worker is killed, for a reader that cannot tell by itself."""


def read(task: Mapping[str, Any]) -> dict[str, Any]:
    """Fetch and read one page, in a worker."""
    from espl_bench.retrieval.fetch import fetch_text  # loads the packages

    try:
        return {"text": fetch_text(task["url"], task["timeout_s"])[:PAGE_CHARS]}
    except RetrievalError as error:
        raise RefusedTaskError(str(error)) from error


def page_text(url: str, timeout_s: float, pool: WorkerPool | None = None) -> str:
    """Return the beginning of a page's text. Raises RetrievalError if it cannot be had within the time, or may not be."""
    try:
        answer = (pool or _readers()).ask({"url": url, "timeout_s": timeout_s}, timeout_s + GRACE_S, CPU_S)
    except WorkerError as error:
        raise RetrievalError(f"the page {url[:100]!r} is not read: {error}") from error
    return str(answer["text"])


def require_packages() -> None:
    """Raise UsageError unless pages can be read."""
    for package in ("httpcore2", "lxml"):
        if find_spec(package) is None:
            raise UsageError(f"reading pages needs {package}; install it with: pip install 'espl-bench[search]'")


@cache
def _readers() -> WorkerPool:
    return WorkerPool(JOB, SIZE)
