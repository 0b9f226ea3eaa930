"""Serve a local retriever under Search-R1's endpoint (`espl-bench retriever serve`), so that many runs share one index.

Bound to 127.0.0.1 by default. It has no login: whoever may connect may search, but no page of another site (utils/local_server.py).
Requests are bounded in size, in queries and in passages; a malformed one is refused with its reason. POST /retrieve as in http.py, GET
/health.
"""

import json
from typing import Any, Final, cast

from espl_bench.retrieval.retriever import Passage, RetrievalError, Retriever
from espl_bench.utils.local_server import LocalHandler, LocalServer
from espl_bench.utils.numbers import is_whole

MAX_BODY: Final = 2**20
MAX_QUERIES: Final = 256
MAX_TOP_K: Final = 100
MAX_CONNECTIONS: Final = 1024
"""Each episode of a run may have one."""


class _RefusedRequestError(ValueError):
    """A request cannot be answered; the message says why."""


class RetrieverServer(LocalServer):
    """Serves one retriever, a thread per connection."""

    max_connections = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], retriever: Retriever) -> None:
        """Bind the address. Raises OSError if it is taken."""
        super().__init__(address, _Handler)
        self.retriever = retriever


class _Handler(LocalHandler):
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
            content = self.rfile.read(int(length))
            self.answering()
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise _RefusedRequestError("a request is a JSON object") from error

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        self.send_answer(status, "application/json", json.dumps(answer).encode())


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
