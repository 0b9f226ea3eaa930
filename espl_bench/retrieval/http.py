r"""Back end `http`: a retrieval server with Search-R1's wire format, such as this project's own (`espl-bench retriever serve`).

    POST /retrieve {"queries": [...], "topk": 3, "return_scores": true}
    → {"result": [[{"document": {"id": …, "contents": "\"Title\"\\ntext"}, "score": 0.5}, …], …]}

A server that is slow, down or returns garbage causes a `RetrievalError` within a bounded time, and nothing worse.
"""

import json
import ssl
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, cast
from urllib.parse import urlsplit

from espl_bench.errors import UsageError
from espl_bench.retrieval.corpus import split_contents
from espl_bench.retrieval.retriever import FoundPassage, Passage, RetrievalError, now_utc
from espl_bench.utils.redaction import holds_secret, mask_text
from espl_bench.utils.retries import may_pass, retrying

MAX_BYTES: Final = 16 * 2**20
"""Maximum bytes of an answer; the rest of a longer one is not read."""
TRIES: Final = 3
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 2.0


def endpoint_of(url: str) -> str:
    """Return the endpoint of a server's address, which may include it already."""
    bare = url.rstrip("/")
    return bare if bare.endswith("/retrieve") else f"{bare}/retrieve"


def identity_of(url: str) -> str:
    """Name the address; the index behind it is unknown."""
    return f"http {endpoint_of(url)}"


class HttpRetriever:
    """Client of one server. Connections are kept open and passed from thread to thread.

    They are not in a pool of the HTTP package: that searches all of its connections twice per request, which for some hundred of them
    takes longer than the request itself. A proxy that the environment names is not used.
    """

    def __init__(self, url: str, timeout_s: float = 20.0, tries: int = TRIES) -> None:
        """Set the address; no request is made yet.

        Args:
            url: address of the server, or of its endpoint.
            timeout_s: seconds that one try may take.
            tries: maximum tries of one retrieval.

        Raises:
            UsageError: the address is invalid, or a package is missing.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or holds_secret(url):
            wanted = "an http or https address without a login or a key, e.g. http://127.0.0.1:8000"
            raise UsageError(f"--retriever-url takes {wanted}, not '{mask_text(url)}'")
        self.url = endpoint_of(url)
        self._target = urlsplit(self.url).path
        self.timeout_s = timeout_s
        self.tries = tries
        try:
            self._exchange: Any = import_module("espl_bench.utils.exchange")
            import_module("tenacity")
        except ModuleNotFoundError as error:
            raise UsageError(f"retriever http needs {error.name}; install it with: pip install 'espl-bench[search]'") from error
        self._certificates = ssl.create_default_context()  # read once: it takes 20 ms
        self._idle: deque[Any] = deque()

    @property
    def identity(self) -> str:
        """Return the address; the index behind it is unknown."""
        return identity_of(self.url)

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[FoundPassage]:
        """Ask the server, and retry after a transient failure."""
        again = retrying(self.tries, _TransientError, FIRST_WAIT_S, LONGEST_WAIT_S)
        try:
            answer = again(self._ask, {"queries": list(queries), "topk": top_k, "return_scores": True})
        except _TransientError as fault:
            raise RetrievalError(f"{fault}, after {self.tries} tries") from fault
        return _found(answer, queries, top_k, self.url)

    def _ask(self, body: Mapping[str, Any]) -> object:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        deadline = self._exchange.Deadline(self.timeout_s)
        try:
            with self._line() as line:
                answer = line.exchange("POST", self._target, headers, json.dumps(body).encode("ascii"), deadline, MAX_BYTES)
        except self._exchange.ExchangeError as error:
            raise _TransientError(f"the retriever at {self.url} does not answer ({error})") from error
        if may_pass(answer.status):
            raise _TransientError(f"the retriever at {self.url} answers with status {answer.status}")
        if answer.status != 200:
            raise RetrievalError(f"the retriever at {self.url} answers with status {answer.status}")
        if answer.exceeds:
            raise RetrievalError(f"the retriever at {self.url} answers with more than {MAX_BYTES >> 20} MiB")
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            raise RetrievalError(f"the retriever at {self.url} returned invalid JSON") from error

    @contextmanager
    def _line(self) -> Generator[Any]:
        """Yield a connection for exclusive use."""
        try:
            line = self._idle.pop()
        except IndexError:
            line = self._exchange.Line(self.url, self._certificates)
        try:
            yield line
        finally:
            self._idle.append(line)


class _TransientError(RetrievalError):
    """A failure that another try may fix."""


def _found(answer: object, queries: Sequence[str], top_k: int, url: str) -> list[FoundPassage]:
    """Convert the wire's answer to results. Raises RetrievalError for anything else."""
    results: object = cast(dict[str, object], answer).get("result") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(cast(list[object], results)) != len(queries):
        raise RetrievalError(f"the retriever at {url} does not answer with one result for each of {len(queries)} queries")
    date = now_utc()
    try:
        return [
            FoundPassage(query, tuple(_passage(value) for value in result[:top_k]), date)
            for query, result in zip(queries, cast(list[list[object]], results), strict=True)
        ]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise RetrievalError(f"the retriever at {url} returned malformed passages ({type(error).__name__}: {error})") from error


def _passage(value: object) -> Passage:
    """Convert a document, with or without a score. Raises TypeError, KeyError, ValueError or AttributeError for anything else."""
    fields = cast(dict[str, Any], value)
    document: dict[str, Any] = fields.get("document", fields)
    contents: str | None = document.get("contents")
    title, text = split_contents(contents) if contents is not None else (str(document.get("title") or ""), document["text"])
    if not isinstance(text, str):
        raise TypeError("the text is not a string")
    return Passage(str(document.get("id", "")), title, text, float(fields.get("score", 0.0)))
