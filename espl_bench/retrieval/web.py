"""Back end `ddgs`: the live web, through the package of that name. Never the default, and recorded unless switched off.

Search results change from day to day, so a scored run replays a record. Search services reject clients that ask too often: all
threads of a process share one limiter, and a rejected query waits, with jitter, before it is retried.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from espl_bench.errors import UsageError
from espl_bench.retrieval.pages import PAGE_CHARS, page_text, require_packages
from espl_bench.retrieval.retriever import FoundPassage, Passage, RetrievalError, now_utc
from espl_bench.utils.retries import retrying

INTERVAL_S: Final = 1.0
"""Seconds between two queries of a process."""
TRIES: Final = 6
FIRST_WAIT_S: Final = 2.0
LONGEST_WAIT_S: Final = 60.0

Search = Callable[[str, int], Sequence[Mapping[str, Any]]]


class Limiter:
    """Lets one caller through per interval, from any number of threads, in order of arrival."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._turn = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Block until it is the caller's turn."""
        with self._turn:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._interval_s
        time.sleep(max(0.0, start - now))


LIMITER: Final = Limiter(INTERVAL_S)
"""The limiter of the process."""


def identity_of(pages: bool) -> str:
    """Name the service and the kind of its results; its index is unknown."""
    return f"ddgs {'pages' if pages else 'snippets'}"


class WebRetriever:
    """Text search in the live web."""

    def __init__(
        self,
        pages: bool = False,
        timeout_s: float = 20.0,
        search: Search | None = None,
        read: Callable[[str, float], str] = page_text,
        limiter: Limiter = LIMITER,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        """Import the packages; no request is made yet.

        Args:
            pages: fetch the pages found, and return their text instead of snippets.
            timeout_s: seconds that one query, or one page, may take.
            search: asks the service for results; None: `ddgs`.
            read: fetches a page.
            limiter: limits the rate of all queries.
            longest_wait_s: upper bound of the wait after a rejection.

        Raises:
            UsageError: a package is missing.
        """
        try:
            import_module("tenacity")
            self._errors: Any = import_module("ddgs.exceptions")
            self._ddgs: Any = import_module("ddgs")
        except ModuleNotFoundError as error:
            raise UsageError(f"retriever ddgs needs {error.name}; install it with: pip install 'espl-bench[search]'") from error
        if pages:
            require_packages()
        self._pages = pages
        self._timeout_s = timeout_s
        self._search = search or self._by_ddgs
        self._read = read
        self._limiter = limiter
        self._longest_wait_s = longest_wait_s

    @property
    def identity(self) -> str:
        """See `identity_of`."""
        return identity_of(self._pages)

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[FoundPassage]:
        """Ask one query after another, each when the limiter allows it."""
        return [FoundPassage(query, self._passages(query, top_k), now_utc()) for query in queries]

    def _passages(self, query: str, top_k: int) -> tuple[Passage, ...]:
        if not query.strip():
            return ()
        results = list(self._results(query, top_k))[:top_k]
        return tuple(self._passage(result, 1.0 / rank) for rank, result in enumerate(results, start=1))

    def _results(self, query: str, top_k: int) -> Sequence[Mapping[str, Any]]:
        errors = self._errors
        again = retrying(TRIES, (errors.RatelimitException, errors.TimeoutException), FIRST_WAIT_S, self._longest_wait_s)
        try:
            return again(self._ask, query, top_k)
        except (errors.RatelimitException, errors.TimeoutException) as error:
            raise RetrievalError(f"the web search turned a query away {TRIES} times ({type(error).__name__})") from error
        except errors.DDGSException as error:
            if "no results" in str(error).lower():
                return ()
            raise RetrievalError(f"the web search failed ({str(error)[:200]})") from error

    def _ask(self, query: str, top_k: int) -> Sequence[Mapping[str, Any]]:
        self._limiter.wait()
        return self._search(query, top_k)

    def _by_ddgs(self, query: str, top_k: int) -> Sequence[Mapping[str, Any]]:
        return self._ddgs.DDGS(timeout=max(1, int(self._timeout_s))).text(query, max_results=top_k, region="us-en")

    def _passage(self, result: Mapping[str, Any], score: float) -> Passage:
        """Convert a result, or the page behind it; if the page cannot be fetched, keep the snippet."""
        url, text = str(result.get("href", "")), str(result.get("body", ""))
        if self._pages:
            with suppress(RetrievalError):
                text = self._read(url, self._timeout_s)[:PAGE_CHARS] or text
        return Passage(url, str(result.get("title", "")), text, score)
