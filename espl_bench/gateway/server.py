"""Serve a policy's sessions over the chat completions API, on 127.0.0.1 alone.

Each session has an address of its own, ``/s/NAME/v1``, or is named by a header. It has a key, without which nothing is answered: other
users of the machine may connect, and so may a page of another site (`utils/local_server.py`). Requests are bounded in size and number.
They arrive in threads, a connection each, and are answered in the event loop that the server was made in.
"""

import asyncio
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeVar

from espl_bench.gateway.chat_wire import (
    MODEL,
    Asked,
    RefusedRequestError,
    Reply,
    completion_body,
    error_body,
    read_request,
    stream_bodies,
)
from espl_bench.gateway.session import Session, trace
from espl_bench.utils.local_server import LocalHandler, LocalServer

HOST: Final = "127.0.0.1"
MAX_BODY: Final = 2**23
"""Bytes of a request: a long conversation."""
MAX_CONNECTIONS: Final = 1_024
"""Each agent of a batch has one, or a few."""
JSON: Final = "application/json"
SESSION_HEADER: Final = "X-Session-ID"
"""Names the session where the path names none. Harnesses that know one address for all rollouts send it, so that a router keeps each
rollout on one engine."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What an agent needs to reach its session."""

    session: str
    """The session's name."""
    base_url: str
    api_key: str


class GatewayServer(LocalServer):
    """Serves sessions, a thread per connection. Made in a running event loop, and closed there."""

    max_connections = MAX_CONNECTIONS

    def __init__(self, port: int = 0, begin: Callable[[str], Session] | None = None) -> None:
        """Bind the port; 0 takes any free one. Raises OSError if it is taken.

        Args:
            port: where to listen.
            begin: makes a session that is asked for by its name, with the server's own key; without it there are only those that `open`
                made. Raises RefusedRequestError.
        """
        super().__init__((HOST, port), _Handler)
        self.key = secrets.token_urlsafe(32)
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[str, tuple[Session, str]] = {}
        self._changing = threading.Lock()
        self._answering: set[Future[Any]] = set()
        self._names = frozenset(f"{host}:{self.server_port}" for host in (HOST, "localhost"))

    @property
    def url(self) -> str:
        """The address, without a path."""
        return f"http://{HOST}:{self.server_port}"

    def accepts(self, host: str) -> bool:
        """Return whether a Host header names this server, its port included."""
        return host.lower() in self._names

    def open(self, session: Session) -> Endpoint:
        """Serve a session under a new name, with a key of its own."""
        name, key = secrets.token_hex(8), secrets.token_urlsafe(32)
        with self._changing:
            self._sessions[name] = session, key
        return Endpoint(name, f"{self.url}/s/{name}/v1", key)

    def forget(self, name: str) -> None:
        """Serve a session no longer."""
        with self._changing:
            self._sessions.pop(name, None)

    def session(self, name: str, key: str) -> Session:
        """Find a session, or begin it. Raises RefusedRequestError."""
        with self._changing:
            known, own_key = self._sessions.get(name, (None, self.key))
            if not hmac.compare_digest(key.encode("utf-8", "replace"), own_key.encode()):
                raise RefusedRequestError(
                    "this is not the session's key: Authorization: Bearer KEY", HTTPStatus.UNAUTHORIZED, "invalid_api_key"
                )
            if known is not None:
                return known
            if self._begin is None:
                raise RefusedRequestError(f"there is no session '{name}'", HTTPStatus.NOT_FOUND, "no_session")
            session = self._begin(name)
            self._sessions[name] = session, self.key
            return session

    def __len__(self) -> int:
        return len(self._sessions)

    def wait_for(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the server's event loop, from a connection's thread. Raises RefusedRequestError if the server is closed."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._answering.add(future)
        try:
            return future.result()
        except CancelledError as error:
            raise RefusedRequestError("the gateway is closing", HTTPStatus.SERVICE_UNAVAILABLE, "closing") from error
        finally:
            self._answering.discard(future)

    @contextmanager
    def serving(self) -> Generator["GatewayServer"]:
        """Serve in a thread for the block; then cancel what is still being answered."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="gateway", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            for future in tuple(self._answering):
                future.cancel()
            self.shutdown()
            with self._connections:
                for connection in tuple(self._waiting):
                    self._end(connection)
            self.server_close()


class _Handler(LocalHandler):
    disable_nagle_algorithm = True
    server: GatewayServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        """Name the model, or report a session's tokens."""
        self.answering()
        try:
            name, path = self._place()
            session = self.server.session(name, self._key())
            if path == "/v1/models":
                self._say(
                    HTTPStatus.OK, {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "espl-bench"}]}
                )
            elif path == "/trace":
                told = {"session": name, "temperature": session.sampling.temperature, "segments": trace(session.turns)}
                self._say(HTTPStatus.OK, told)
            else:
                raise _nothing_there(self.path)
        except RefusedRequestError as refusal:
            self._refuse(refusal)

    def do_POST(self) -> None:
        """Answer a request for a completion."""
        try:
            name, path = self._place()
            session = self.server.session(name, self._key())
            if path != "/v1/chat/completions":
                raise _nothing_there(self.path)
            asked = read_request(self._body())
            reply = self.server.wait_for(session.complete(asked))
        except RefusedRequestError as refusal:
            return self._refuse(refusal)
        return self._tell(reply, name, asked)

    def do_DELETE(self) -> None:
        """Forget a session, and what it sampled."""
        self.answering()
        try:
            name, path = self._place()
            self.server.session(name, self._key())
            if path != "":
                raise _nothing_there(self.path)
            self.server.forget(name)
            self._say(HTTPStatus.OK, {"session": name, "deleted": True})
        except RefusedRequestError as refusal:
            self._refuse(refusal)

    def _place(self) -> tuple[str, str]:
        """Return the session's name and the path in it."""
        path = self.path.partition("?")[0]
        if path.startswith("/s/"):
            name, slash, rest = path.removeprefix("/s/").partition("/")
        else:
            name, slash, rest = self.headers.get(SESSION_HEADER) or "default", "", path
        if not (0 < len(name) <= 128 and name.isascii() and all(sign.isalnum() or sign in "-_." for sign in name)):
            raise RefusedRequestError("a session's name has letters, digits, -, _ and ., at most 128", HTTPStatus.NOT_FOUND, "no_session")
        return name, f"{slash}{rest}"

    def _key(self) -> str:
        kind, _, key = (self.headers.get("Authorization") or "").partition(" ")
        return key.strip() if kind.lower() == "bearer" else ""

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length") or ""
        if not (length.isascii() and length.isdecimal()) or len(length) > len(str(MAX_BODY)):
            raise RefusedRequestError(f"a request needs its Content-Length, at most {MAX_BODY}", HTTPStatus.LENGTH_REQUIRED)
        if int(length) > MAX_BODY:
            raise RefusedRequestError(f"a request has at most {MAX_BODY} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        content = self.rfile.read(int(length))
        self.answering()
        return content

    def _tell(self, reply: Reply, name: str, asked: Asked) -> None:
        created = int(time.time())
        if not asked.stream:
            return self._say(HTTPStatus.OK, completion_body(reply, name, created, asked.logprobs))
        events = [json.dumps(body) for body in stream_bodies(reply, name, created, asked)] + ["[DONE]"]
        return self.send_answer(HTTPStatus.OK, "text/event-stream", "".join(f"data: {event}\n\n" for event in events).encode())

    def _refuse(self, refusal: RefusedRequestError) -> None:
        self.close_connection = self.command == "POST"  # the body may not have been read
        self._say(refusal.status, error_body(refusal))

    def _say(self, status: HTTPStatus, answer: dict[str, Any]) -> None:
        self.send_answer(status, JSON, json.dumps(answer).encode())


def _nothing_there(path: str) -> RefusedRequestError:
    return RefusedRequestError(
        f"there is nothing at {path[:80]}: ask POST /s/NAME/v1/chat/completions, GET /s/NAME/v1/models or GET /s/NAME/trace",
        HTTPStatus.NOT_FOUND,
        "not_found",
    )
