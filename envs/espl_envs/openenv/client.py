"""A session of an OpenEnv server: JSON frames over a WebSocket (``reset``, ``step``, ``state``, ``close``).

Only the package websockets is needed. What a server sends is data: it is bounded in size, in depth and in time.
"""

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit, urlunsplit

from espl_bench.errors import EnvError, UsageError, first_line
from espl_bench.utils.foreign_text import ForeignJsonError, parse_json
from espl_bench.utils.numbers import is_bounded

MAX_FRAME: Final = 2**20
"""Bytes of a frame."""
PAUSE_S: Final = 0.2
"""Pause before another try to get a session, doubled up to two seconds."""
FULL: Final = "CAPACITY_REACHED"
_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class FullError(EnvError):
    """The server has no session left."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A server's reply to `reset` or `step`."""

    observation: Mapping[str, Any]
    reward: float | None
    done: bool


def address_of(url: str) -> str:
    """Return the address of a server's WebSocket. Raises UsageError for no address."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise UsageError(f"openenv: {url!r} is no address of a server; give e.g. url=http://127.0.0.1:8000")
    path = parts.path.rstrip("/")
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path if path.endswith("/ws") else f"{path}/ws", parts.query, ""))


class OpenEnvSession:
    """One session, and so one episode at a time."""

    def __init__(self, address: str, timeout_s: float) -> None:
        """Connect. Raises EnvError."""
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        self._timeout_s = timeout_s
        self._failures = (WebSocketException, OSError, TimeoutError)
        self._connected = ExitStack()
        limits: dict[str, Any] = {"open_timeout": timeout_s, "close_timeout": 1, "max_size": MAX_FRAME}
        try:
            self._socket = self._connected.enter_context(connect(address, **limits, user_agent_header=None, proxy=None, compression=None))
        except self._failures as error:
            told = f"no OpenEnv server answers at {address} ({first_line(error)}); start it, or name another with --env-option url=ADDRESS"
            raise EnvError(told) from error

    @classmethod
    def begun(cls, address: str, timeout_s: float, seed: int) -> "tuple[OpenEnvSession, Observed]":
        """Connect and reset, again and again until the time is over: a server may be full, or restart. Raises EnvError."""
        deadline, pause_s = time.monotonic() + timeout_s, PAUSE_S
        while True:
            session = None
            try:
                session = cls(address, timeout_s)
                return session, session.reset(seed)
            except EnvError:
                if session is not None:
                    session.close()
                if time.monotonic() + pause_s > deadline:
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)

    def reset(self, seed: int) -> Observed:
        """Begin an episode. Raises EnvError."""
        return _observed(self._ask("reset", {"seed": seed}, "observation"))

    def step(self, action: Mapping[str, Any]) -> Observed:
        """Take an action. Raises EnvError."""
        return _observed(self._ask("step", action, "observation"))

    def state(self) -> Mapping[str, Any]:
        """Return the server's state of the episode. Raises EnvError."""
        return self._ask("state", None, "state")

    def close(self) -> None:
        """End the session. A server that has gone is no error."""
        with suppress(*self._failures):
            self._socket.send(json.dumps({"type": "close"}))
        with suppress(*self._failures):
            self._connected.close()

    def _ask(self, kind: str, data: Mapping[str, Any] | None, expected: str) -> Mapping[str, Any]:
        """Send a frame and return the data of the reply. Raises EnvError."""
        with suppress(*self._failures):  # a server that has closed the connection may have said why
            self._socket.send(json.dumps({"type": kind} if data is None else {"type": kind, "data": data}))
        try:
            frame = self._socket.recv(timeout=self._timeout_s)
        except self._failures as error:
            remedy = f"; if it may take longer than {self._timeout_s:g} s: --env-option timeout=" if isinstance(error, TimeoutError) else ""
            fault = f"{type(error).__name__}: {first_line(error)}"
            raise EnvError(f"the OpenEnv server does not answer to '{kind}' ({fault}){remedy}") from error
        try:
            reply = parse_json(frame)
        except ForeignJsonError as error:
            raise EnvError(f"the server's reply to '{kind}' is not JSON that is read here ({error})") from error
        fields = cast(dict[str, Any], reply) if isinstance(reply, dict) else {}
        content = fields.get("data")
        if fields.get("type") == "error":
            fault = cast(dict[str, Any], content) if isinstance(content, dict) else {}
            code, message = str(fault.get("code", "?"))[:40], " ".join(str(fault.get("message", "")).split())[:200]
            raise (FullError if code == FULL else EnvError)(f"the server refuses '{kind}': {code}: {message}")
        if fields.get("type") != expected or not isinstance(content, dict):
            raise EnvError(f"the server's reply to '{kind}' is no {expected}")
        return cast(dict[str, Any], content)


def _observed(data: Mapping[str, Any]) -> Observed:
    observation, reward = data.get("observation"), data.get("reward")
    if not isinstance(observation, dict):
        raise EnvError("the server's observation is no object")
    if reward is not None and not (isinstance(reward, int | float) and is_bounded(reward)):
        raise EnvError(f"the server's reward is {str(reward)[:40]}")
    return Observed(cast(dict[str, Any], observation), None if reward is None else float(reward), data.get("done") is True)
