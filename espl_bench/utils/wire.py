"""Messages between a process and a worker of its own: JSON, each message preceded by its length.

JSON and not pickle, because what a worker returns was computed from foreign text: it must be data and nothing else. Lone
surrogates and control characters are sent as escapes.
"""

import json
import os
import select
import struct
import time
from typing import Any, Final

_LENGTH: Final = struct.Struct(">I")
MAX_MESSAGE_BYTES: Final = 1 << 24


class WireError(Exception):
    """The other side has gone, or does not speak this protocol."""


class WireTimeoutError(Exception):
    """The other side did not speak, or did not listen, in time."""


class RefusedTaskError(Exception):
    """What a job in a worker says instead of a result, in one line."""


def send(descriptor: int, message: dict[str, Any], deadline: float | None = None) -> None:
    """Write one message.

    Args:
        descriptor: file descriptor to write to; with a deadline it must be non-blocking.
        message: anything that JSON can hold.
        deadline: by `time.monotonic`; None waits forever.

    Raises:
        WireError: nobody reads any more.
        WireTimeoutError: the deadline has passed.
    """
    body = json.dumps(message).encode("ascii")
    data = memoryview(_LENGTH.pack(len(body)) + body)
    while data:
        if deadline is not None:
            _await(descriptor, select.POLLOUT, deadline)
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            continue
        except OSError as error:
            raise WireError(f"nobody listens ({error.strerror})") from error


def receive(descriptor: int, deadline: float | None = None) -> dict[str, Any] | None:
    """Read one message; None at the end of the stream.

    Args:
        descriptor: file descriptor to read from.
        deadline: by `time.monotonic`; None waits forever.

    Raises:
        WireError: the stream ends within a message, or is not of this protocol.
        WireTimeoutError: the deadline has passed.
    """
    head = _read(descriptor, _LENGTH.size, deadline)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {length} bytes was announced")
    try:
        return json.loads(_read(descriptor, length, deadline))
    except ValueError as error:
        raise WireError("a message is not JSON") from error


def _read(descriptor: int, size: int, deadline: float | None) -> bytes:
    """Read this many bytes, or none if the stream ends before the first."""
    data = b""
    while len(data) < size:
        if deadline is not None:
            _await(descriptor, select.POLLIN, deadline)
        chunk = os.read(descriptor, size - len(data))
        if not chunk:
            if data:
                raise WireError("the stream ends within a message")
            return b""
        data += chunk
    return data


def _await(descriptor: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise WireTimeoutError
