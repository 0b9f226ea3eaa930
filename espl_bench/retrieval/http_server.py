"""Serve a local retriever under Search-R1's endpoint (`espl-bench retriever serve`), so that many runs share one index.

Bound to 127.0.0.1 by default. Requests are bounded in size, in queries and in passages; a malformed one is refused with its
reason. POST /retrieve as in http.py, GET /health.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast

from espl_bench.retrieval.retriever import Passage, RetrievalError, Retriever
from espl_bench.utils.numbers import is_whole

MAX_BODY: Final = 2**20
MAX_QUERIES: Final = 256
MAX_TOP_K: Final = 100
READ_TIMEOUT_S: Final = 30.0


class _RefusedRequestError(ValueError):
    """A request cannot be answered; the message says why."""


class RetrieverServer(ThreadingHTTPServer):
    """Serves one retriever, a thread per connection."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], retriever: Retriever) -> None:
        """Bind the address. Raises OSError if it is taken."""
        super().__init__(address, _Handler)
        self.retriever = retriever


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = READ_TIMEOUT_S
    server_version = "espl-bench"
    sys_version = ""
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Report that the server is up, and what it searches."""
        if self.path != "/health":
            return self._say(404, {"detail": "there is POST /retrieve and GET /health"})
        return self._say(200, {"status": "ok", "retriever": self._retriever.identity})

    def do_POST(self) -> None:
        """Serve a retrieval."""
        if self.path != "/retrieve":
            self.close_connection = True  # the body was not read
            return self._say(404, {"detail": "there is POST /retrieve and GET /health"})
        try:
            queries, top_k, with_scores = _understood(self._body())
            results = self._retriever.retrieve(queries, top_k)
        except _RefusedRequestError as refusal:
            self.close_connection = True
            return self._say(422, {"detail": str(refusal)})
        except RetrievalError as fault:
            return self._say(503, {"detail": str(fault)})
        return self._say(200, {"result": [[_document(passage, with_scores) for passage in result.passages] for result in results]})

    @property
    def _retriever(self) -> Retriever:
        return cast(RetrieverServer, self.server).retriever

    def _body(self) -> object:
        length = self.headers.get("Content-Length") or ""
        if not (length.isascii() and length.isdecimal()):
            raise _RefusedRequestError("a request needs its Content-Length")
        if int(length) > MAX_BODY:
            raise _RefusedRequestError(f"a request has at most {MAX_BODY} bytes")
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise _RefusedRequestError("a request is a JSON object") from error

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: queries must not appear on the screen."""


def _understood(body: object) -> tuple[list[str], int, bool]:
    """Parse queries, number of passages, and whether scores are wanted. Raises _RefusedRequestError."""
    if not isinstance(body, dict):
        raise _RefusedRequestError("a request is a JSON object with queries")
    fields = cast(dict[str, Any], body)
    queries, top_k, with_scores = fields.get("queries"), fields.get("topk") or 3, fields.get("return_scores", False)
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in cast(list[object], queries)):
        raise _RefusedRequestError("queries is a list of texts")
    if len(cast(list[str], queries)) > MAX_QUERIES:
        raise _RefusedRequestError(f"a request has at most {MAX_QUERIES} queries")
    if not is_whole(top_k) or top_k > MAX_TOP_K:
        raise _RefusedRequestError(f"topk is a whole number from 1 to {MAX_TOP_K}")
    if not isinstance(with_scores, bool):
        raise _RefusedRequestError("return_scores is true or false")
    return cast(list[str], queries), top_k, with_scores


def _document(passage: Passage, with_scores: bool) -> dict[str, Any]:
    document = {"id": passage.id, "contents": f'"{passage.title}"\n{passage.text}'}
    return {"document": document, "score": passage.score} if with_scores else document
