"""The tools of one MCP server: how it is reached, which of its tools are offered, and under which names."""

import ipaddress
import math
import re
import shlex
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from espl_bench.errors import EnvError, EsplError, UsageError, unknown
from espl_bench.tools.sanitize import sanitize
from espl_bench.tools.tool_server import ToolServer
from espl_bench.tools.tool_spec import ToolSpec
from espl_bench.utils.redaction import holds_secret, mask_text

if TYPE_CHECKING:
    from espl_bench.tools.mcp.session import McpSession, OfferedTool

MOST_TOOLS: Final = 64
"""Of one server: all of them stand in every prompt."""
MOST_ABOUT_CHARS: Final = 2_000
MOST_SHOWN: Final = 80
"""Characters of its address or command in messages."""
MOST_FAILURES: Final = 8
"""Times that a server may go, or not come up, before it is given up: one that ends at every call would be started for each."""
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_NAME: Final = 64


@dataclass(frozen=True)
class McpTools(ToolServer):
    """Give `command` or `url`. Nothing is started or reached before the tools are needed.

        class MyEnv(ToolEnv):
            tools = McpTools(command=["python", "server.py"])

    A call that the server answers with an error is a failed call, and the policy reads why. A server that ends, breaks its protocol or does
    not answer in time makes the episode an error, which says nothing about the policy.
    """

    command: Sequence[str] = ()
    """Program and arguments. It gets PATH, HOME and the like of this process's variables, and those that `variables` names."""
    url: str = ""
    """Address of a server on this machine that speaks streamable HTTP."""
    timeout_s: float = 30.0
    """Seconds that a call may take."""
    start_timeout_s: float = 60.0
    """Seconds until the server has said which tools it has."""
    max_bytes: int = 4 * 2**20
    """Bytes of one message; a server that sends a longer one is cut off."""
    only: Sequence[str] = ()
    """Names of the tools to offer, as the server has them; empty: all."""
    variables: Sequence[str] = ()
    """Names of further variables that the program is given, e.g. of a key."""

    def __post_init__(self) -> None:
        """Raise UsageError for a server that is named twice or not at all, is not on this machine, or for a limit that leaves nothing."""
        for name in ("command", "only", "variables"):
            listed = getattr(self, name)
            if isinstance(listed, str) or not all(isinstance(each, str) and each for each in listed):
                raise UsageError(f"{name} of an MCP server is a list of texts, not {listed!r}")
            object.__setattr__(self, name, tuple(listed))
        if bool(self.command) == bool(self.url):
            raise UsageError("an MCP server is named by its command or by its url; give one of them")
        if self.url:
            _require_loopback(self.url)
        for name in ("timeout_s", "start_timeout_s", "max_bytes"):
            limit = getattr(self, name)
            if not (isinstance(limit, int | float) and 0 < limit < math.inf):
                raise UsageError(f"a limit of an MCP server must be a number above 0, not {limit!r}")

    @classmethod
    def of(cls, named: object, **limits: Any) -> Self:
        """Make it from an option: an address, a command line, or a command as a list. Raises UsageError."""
        if isinstance(named, str) and "://" in named:
            return cls(url=named, **limits)
        if isinstance(named, str):
            try:
                return cls(command=shlex.split(named), **limits)
            except ValueError as error:
                raise UsageError(f"{named!r} is no command line ({error}); give a list of texts") from error
        if isinstance(named, list | tuple):
            return cls(command=named, **limits)  # pyright: ignore[reportUnknownArgumentType]  # __post_init__ looks at them
        raise UsageError(f"an MCP server is an address or a command, not {named!r}")

    def __str__(self) -> str:
        named = self.url or shlex.join(self.command)
        return named if len(named) <= MOST_SHOWN else f"{named[:MOST_SHOWN]}…"

    def offered(self) -> tuple[ToolSpec, ...]:
        """Return the tools under names that calls can be written with; their schemas are the server's."""
        with _CHANGING:
            known = _state(self).offered
            return _connected(self).names.specs if known is None else known

    def use(self, holder: object, tool: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool. Raises BadArgumentsError for an error that the server reports, EnvError for a server that fails."""
        self.hold(holder)
        connection = _connected(self)
        return connection.session.call(connection.names.original(tool), arguments, self.timeout_s)

    def hold(self, holder: object) -> None:
        """Connect, if nobody has."""
        _connected(self)
        with _CHANGING:
            _state(self).holders.add(holder)

    def release(self, holder: object) -> None:
        """Let go; the last to do so ends the connection."""
        with _CHANGING:
            state = _state(self)
            state.holders.discard(holder)
            if state.holders:
                return
            del _STATES[self]
        if state.connection is not None:
            state.connection.session.close()


class _Names:
    """Specs of a server's tools, and what the server calls them."""

    def __init__(self, server: McpTools, tools: Sequence["OfferedTool"]) -> None:
        by_name = {tool.name: tool for tool in tools}
        if missing := next((name for name in server.only if name not in by_name), None):
            raise unknown(f"tool of the MCP server {server}", missing, by_name)
        chosen = [by_name[name] for name in server.only] if server.only else list(by_name.values())
        if not 1 <= len(chosen) <= MOST_TOOLS:
            raise UsageError(f"the MCP server {server} offers {len(chosen)} tools; name 1 to {MOST_TOOLS} of them with `only`")
        self._originals: dict[str, str] = {}
        specs: list[ToolSpec] = []
        for tool in chosen:
            name = _safe(tool.name, self._originals)
            self._originals[name] = tool.name
            try:
                specs.append(ToolSpec.of_schema(name, sanitize(tool.about, MOST_ABOUT_CHARS), tool.schema))
            except EnvError as error:
                raise UsageError(f"the MCP server {server}: tool {name} cannot be offered: {error}; name others with `only`") from error
        self.specs = tuple(specs)

    def original(self, name: str) -> str:
        """Return what the server calls a tool."""
        return self._originals[name]


def _safe(name: str, taken: Mapping[str, str]) -> str:
    """Return a name that every form of calls can write, and no other tool has."""
    safe = _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME] or "_"
    if not (safe[0].isalpha() or safe[0] == "_"):
        safe = f"_{safe}"[:_LONGEST_NAME]
    number, unique = 2, safe
    while unique in taken:
        unique = f"{safe[: _LONGEST_NAME - len(str(number)) - 1]}_{number}"
        number += 1
    return unique


@dataclass(frozen=True)
class _Connection:
    """A session, and its tools."""

    session: "McpSession"
    names: _Names


@dataclass
class _State:
    """What this process has with a server."""

    connection: _Connection | None = None
    offered: tuple[ToolSpec, ...] | None = None
    """Its tools, as it had them first."""
    holders: weakref.WeakSet[Any] = field(default_factory=lambda: weakref.WeakSet[Any]())
    """Environments that are not closed yet."""
    failures: int = 0


_CHANGING: Final = threading.RLock()
_STATES: Final[dict[McpTools, _State]] = {}


def _state(server: McpTools) -> _State:
    return _STATES.setdefault(server, _State())


def _connected(server: McpTools) -> _Connection:
    """Return the connection of this process to a server; one that broke is made anew. Raises EnvError or UsageError."""
    with _CHANGING:  # episodes ask all at once for the first time
        state = _state(server)
        if state.connection is not None and state.connection.session.broken:
            state.connection.session.close()
            state.connection = None
            state.failures += 1
        if state.connection is None:
            if state.failures >= MOST_FAILURES:
                raise EnvError(f"the MCP server {server} has failed {MOST_FAILURES} times, and is not tried again")
            state.failures += 1
            state.connection = _connect(server, state.offered)
            state.failures -= 1
            state.offered = state.connection.names.specs
        return state.connection


def _connect(server: McpTools, offered: tuple[ToolSpec, ...] | None) -> _Connection:
    """Begin a session. A server that comes back with other tools than it `offered` is an EnvError: no prompt speaks of them."""
    session = _session_class()(server)
    try:
        names = _Names(server, session.tools)
        if offered not in (None, names.specs):
            raise EnvError(f"the MCP server {server} came back with other tools")
    except EsplError as error:
        session.close()
        raise error if offered is None else EnvError(str(error)) from error
    return _Connection(session, names)


def _session_class() -> type["McpSession"]:
    try:
        return import_module("espl_bench.tools.mcp.session").McpSession
    except ModuleNotFoundError as error:
        raise UsageError(f"tools of an MCP server need {error.name}; install it with: pip install 'espl-bench[mcp]'") from error


def _require_loopback(url: str) -> None:
    """Raise UsageError unless an address is one of this machine, without a login."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise UsageError(f"{url!r} is no address ({error})") from error
    if parts.scheme not in ("http", "https") or holds_secret(url) or not (host == "localhost" or _is_loopback(host)):
        wanted = "an http address on this machine, without a login or a key, e.g. http://127.0.0.1:8000/mcp"
        raise UsageError(f"the url of an MCP server is {wanted}, not '{mask_text(url)}'")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
