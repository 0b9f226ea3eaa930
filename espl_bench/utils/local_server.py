"""Base of the servers that this project runs on a user's machine, where other users and the pages of other sites can reach them.

A request must name the server in its Host header, and an Origin must be the server's own, so that no page of another site reaches it, not
even under a name that it made to point here. A connection that is idle, or sends its request too slowly, is closed; of too many
connections the one that has waited longest makes room.
"""

import ipaddress
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

IDLE_S: Final = 30.0
"""Seconds within which a connection must send a whole request, from its opening or from its last answer on."""
MAX_CONNECTIONS: Final = 64


class LocalServer(ThreadingHTTPServer):
    """Serves a thread per connection. Raises OSError if the address is taken."""

    daemon_threads = True
    request_queue_size = 256
    idle_s = IDLE_S
    max_connections = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: type["LocalHandler"]) -> None:
        """Bind the address without serving yet."""
        self._connections = threading.Lock()
        self._waiting: dict[socket.socket, float | None] = {}
        """Open connections, oldest first, with the time since which each owes a request; None: it is being answered."""
        super().__init__(address, handler)

    def accepts(self, host: str) -> bool:
        """Return whether a Host header names this server: by an address, as localhost, or by a name that no other site can have."""
        name = _hostname(host)
        bound = str(self.server_address[0])
        return name is not None and (_is_address(name) or name in {"localhost", bound.lower(), socket.gethostname().lower()})

    def waits(self, connection: socket.socket, waits: bool) -> None:
        """Note that a connection owes a request, or that it is being answered."""
        with self._connections:
            if connection in self._waiting and waits is (self._waiting[connection] is None):
                self._waiting[connection] = time.monotonic() if waits else None

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection, at the cost of the one that has waited longest if there are too many."""
        with self._connections:
            self._waiting[request] = time.monotonic()
            while len(self._waiting) > self.max_connections:
                self._end(min(self._waiting, key=lambda each: self._waiting[each] or float("inf")))
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Close connections that owe a request for too long; called twice a second."""
        with self._connections:
            late = time.monotonic() - self.idle_s
            for connection in [each for each, since in self._waiting.items() if since is not None and since < late]:
                self._end(connection)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection when it is closed."""
        with self._connections:
            self._waiting.pop(request, None)
        super().shutdown_request(request)

    def _end(self, connection: socket.socket) -> None:
        """Wake up the thread that waits for a connection, which then closes it."""
        del self._waiting[connection]
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class LocalHandler(BaseHTTPRequestHandler):
    """Handles the requests of one connection; those that name another server, or come from another site, are refused."""

    server: LocalServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    server_version = "espl-bench"
    sys_version = ""
    timeout = IDLE_S
    """Seconds that the sending of an answer may take."""

    def handle_one_request(self) -> None:
        """Wait for a request and answer it. A client that has gone is no error."""
        self.server.waits(self.connection, True)
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def parse_request(self) -> bool:
        """Read the head of a request, and refuse it if it is meant for another server or comes from another site."""
        if not super().parse_request():
            return False
        refusal = self.refusal()
        if refusal:
            self.close_connection = True
            self.send_answer(HTTPStatus.FORBIDDEN, "text/plain; charset=utf-8", f"{refusal}\n".encode())
            return False
        return True

    def refusal(self) -> str:
        """Return why a request is refused; empty if it is not."""
        hosts, origins = self.headers.get_all("Host") or [], self.headers.get_all("Origin") or []
        if len(hosts) != 1 or not self.server.accepts(hosts[0]):
            return "this server answers only requests to its own address"
        own = {f"{scheme}://{hosts[0].lower()}" for scheme in ("http", "https")}
        follows_link = self.command == "GET" and self.headers.get("Sec-Fetch-Mode") == "navigate"
        from_elsewhere = self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not follows_link
        if from_elsewhere or any(origin.strip().lower() not in own for origin in origins):
            return "this server answers no other site's pages"
        return ""

    def send_answer(self, status: HTTPStatus | int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer. A client that has gone is no error."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        with suppress(OSError):
            self.end_headers()
            self.wfile.write(body)

    def answering(self) -> None:
        """Note that the whole request has come."""
        self.server.waits(self.connection, False)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: requests must not appear on the screen."""


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
