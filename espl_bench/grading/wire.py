"""Messages between a grader and its worker process: JSON, each message preceded by its length.

JSON and not pickle, because replies are computed from what a model wrote: they must be data and nothing else. Lone
surrogates and control characters are sent as escapes.
"""

import json
import os
import select
import struct
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

_LENGTH: Final = struct.Struct(">I")
MAX_MESSAGE_BYTES: Final = 1 << 24


class WireError(Exception):
    """The other side has gone, or does not speak this protocol."""


class WireTimeoutError(Exception):
    """The other side did not speak, or did not listen, in time."""


@dataclass(frozen=True, slots=True)
class GraderQuestion:
    """One gold answer and one answer, to be compared by math-verify."""

    gold: str
    answer: str
    search: tuple[str, ...]
    """Extractors with which both texts are searched; empty if each is one formula."""
    strict: bool
    allow_set_relation_comp: bool
    float_rounding: int
    numeric_precision: int
    cpu_s: float
    """CPU seconds after which the kernel ends the attempt."""
    memory_mib: int
    describe: bool = False
    """Also return how both were read: for people, since printing a formula takes time."""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "GraderQuestion":
        """Convert from the wire, where tuples are lists."""
        values: dict[str, Any] = fields | {"search": tuple(fields["search"])}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class FunctionQuestion:
    """One call of somebody's own grader."""

    payload: Any
    """What the function is given: anything that JSON can hold."""
    cpu_s: float
    memory_mib: int

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "FunctionQuestion":
        """Convert from the wire."""
        return cls(**fields)


Question = GraderQuestion | FunctionQuestion


class GraderFinding(StrEnum):
    """Result of a question."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NO_ANSWER = "no_answer"
    """math-verify found nothing to compare in the answer."""
    NO_GOLD = "no_gold"
    """math-verify found nothing to compare in the gold answer."""
    ANSWERED = "answered"
    """A function returned a value."""
    RAISED = "raised"
    """math-verify, or the function, raised an exception."""
    CPU = "cpu"
    """The attempt used up its CPU time."""
    CLOCK = "clock"
    """The attempt took too long by the clock."""
    MEMORY = "memory"
    """The attempt took too much memory."""
    DIED = "died"
    """The process ended in another way."""

    @property
    def interrupted(self) -> bool:
        """True if the question was not answered, so that a second attempt may end differently."""
        return self in (GraderFinding.CPU, GraderFinding.CLOCK, GraderFinding.MEMORY, GraderFinding.DIED)


@dataclass(frozen=True, slots=True)
class GraderReply:
    """The answer to a question."""

    finding: GraderFinding
    detail: str = ""
    gold_form: str = ""
    """How the gold answer was read, if requested."""
    answer_form: str = ""
    read: bool = False
    """True if both sides were read as values or words here, and math-verify was not asked."""
    value: Any = None
    """What a function returned."""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "GraderReply":
        """Convert from the wire, where a finding is its name."""
        values: dict[str, Any] = fields | {"finding": GraderFinding(fields["finding"])}
        return cls(**values)


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
