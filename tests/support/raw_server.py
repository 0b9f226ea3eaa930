"""A server on the loopback that sends whatever bytes it is told to, as slowly as it is told to."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Behave = Callable[[socket.socket, bytes], None]
"""Is given a connection and the request's head; what it raises when the client has gone is passed over."""

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"


@contextmanager
def raw_server(behave: Behave) -> Iterator[int]:
    """Serve on a free port of 127.0.0.1, a thread per connection; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                head = b""
                while b"\r\n\r\n" not in head and (data := connection.recv(65536)):
                    head += data
                behave(connection, head)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


def answers(content: bytes, head: bytes = OK) -> Behave:
    """Answer with a body and its length."""

    def behave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(content) + content)

    return behave


def drips(head: bytes, drop: bytes, pause_s: float = 0.02) -> Behave:
    """Send a beginning, and then a few bytes again and again, until the client has gone."""

    def behave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head)
        gone = threading.Event()
        while True:
            connection.sendall(drop)
            gone.wait(pause_s)

    return behave


def floods(head: bytes, piece: bytes) -> Behave:
    """Send a beginning, and then a piece again and again as fast as it is taken."""
    return drips(head, piece, 0.0)
