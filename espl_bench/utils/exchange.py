"""One HTTP exchange with one deadline: name, connection, TLS, request, headers and body, however slowly they come.

A time limit on each read does not end a server that sends one byte a second. Here every wait is for what is left until the deadline, and
the body is bounded as sent and as decoded. No redirect is followed, no proxy or login of the environment is used. Needs ``httpcore2``.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpcore2

from espl_bench.utils.decoding import ACCEPTED, BoundedBody, DecodingError

USER_AGENT: Final = "espl-bench"
PORTS: Final = {"http": 80, "https": 443}
_KEPT: Final = "!#$%&'()*+,/:;=?@[]~"
"""Characters of a path and a query that are sent as they are."""

Find = Callable[[str, int, "Deadline"], Sequence[tuple[str, int]]]
"""Returns the addresses and ports to try, in order, for a host and a port."""


class ExchangeError(Exception):
    """The exchange failed; says why in one line."""


class LateError(ExchangeError):
    """The deadline has passed."""


class Deadline:
    """A point in time by which everything must be done."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, always above 0. Raises LateError if there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise LateError(f"it takes more than {self.seconds:g} s for an answer")
        return left


def addresses_of(host: str, port: int, deadline: Deadline) -> Sequence[tuple[str, int]]:
    """Look a host up, within the deadline. Raises ExchangeError if it is not found."""
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = threading.Thread(target=look_up, name="look-up", daemon=True)  # it cannot be interrupted
    thread.start()
    thread.join(deadline.left())
    if not found:
        deadline.left()
        raise LateError(f"the host {host[:100]} was not found within {deadline.seconds:g} s")
    if isinstance(found[0], Exception):
        raise ExchangeError(f"the host {host[:100]} cannot be found ({found[0]})")
    return [(str(entry[4][0]), port) for entry in found[0]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; of several, the last."""
    content: bytes
    """Decoded, up to the limit."""
    exceeds: bool
    """True if there was more."""


class Line:
    """A connection to one origin, opened when needed and kept for the next exchange. Used by one thread at a time."""

    def __init__(self, url: str, certificates: ssl.SSLContext, find: Find = addresses_of) -> None:
        """Set the origin of a valid http or https address.

        Args:
            url: any address at the origin.
            certificates: what a server's certificate is checked with.
            find: decides where the host is, and what may be connected to.

        Raises ExchangeError for a host that is no name.
        """
        parts = urlsplit(url)
        try:
            self._host = (parts.hostname or "").encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ExchangeError(f"the host {(parts.hostname or '')[:100]} cannot be found ({error})") from error
        self._scheme, self._port = parts.scheme, parts.port or PORTS[parts.scheme]
        self._certificates = certificates
        self._backend = _Backend(find)
        self._connection: httpcore2.HTTPConnection | None = None

    def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes, deadline: Deadline, limit: int) -> Answer:
        """Send one request and read the answer.

        Args:
            method: such as GET.
            target: path and query.
            headers: besides Host, Accept-Encoding and User-Agent.
            body: may be empty.
            deadline: of all of it.
            limit: maximum bytes of the body, as sent and as decoded.

        Raises ExchangeError.
        """
        self._backend.deadline = deadline
        every = {"Host": self._named(), "User-Agent": USER_AGENT, "Accept-Encoding": ACCEPTED, **headers}
        try:
            return self._exchanged(method, target, every, body, limit)
        except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            self.close()
            deadline.left()
            raise ExchangeError(str(error) or type(error).__name__) from error
        except DecodingError as error:
            self.close()
            raise ExchangeError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchanged(self, method: str, target: str, headers: Mapping[str, str], body: bytes, limit: int) -> Answer:
        url = f"{self._scheme}://{self._named()}{quote(target, safe=_KEPT)}"
        with self._open().stream(method, url, headers=list(headers.items()), content=body or None) as response:
            named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            content = BoundedBody(named.get("content-encoding"), limit)
            for chunk in response.iter_stream():
                self._backend.deadline.left()
                content.add(chunk)
                if content.exceeds:
                    break
        return Answer(response.status, named, content.content, content.exceeds)

    def _open(self) -> httpcore2.HTTPConnection:
        connection = self._connection
        if connection is None or not connection.is_available() or connection.has_expired():
            self.close()
            origin = httpcore2.Origin(self._scheme.encode(), self._host.encode(), self._port)
            connection = httpcore2.HTTPConnection(origin, self._certificates, network_backend=self._backend)
            self._connection = connection
        return connection

    def _named(self) -> str:
        """Return the host as a URL and the Host header have it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return host if self._port == PORTS[self._scheme] else f"{host}:{self._port}"


class _Backend(httpcore2.NetworkBackend):
    """Connects where `find` says, and waits no longer than until the deadline."""

    def __init__(self, find: Find) -> None:
        self.deadline = Deadline(0.0)
        self._find = find
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Try the addresses in order, dividing the time among them. Raises ExchangeError, or httpcore2's last error."""
        found = self._find(host, port, self.deadline)
        last: Exception = ExchangeError(f"the host {host[:100]} has no address")
        for number, (address, to) in enumerate(found):
            share = self.deadline.left() / (len(found) - number)
            try:
                return _Stream(self._plain.connect_tcp(address, to, share, None, socket_options or ()), self)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last = error
        raise last


class _Stream(httpcore2.NetworkStream):
    """A stream whose every wait ends at the deadline."""

    def __init__(self, inner: httpcore2.NetworkStream, backend: _Backend) -> None:
        self._inner = inner
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._backend.deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        for start in range(0, len(view), 2**16):  # each piece waits by itself
            self._inner.write(bytes(view[start : start + 2**16]), self._backend.deadline.left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._backend.deadline.left()), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
