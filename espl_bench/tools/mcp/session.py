"""One session with an MCP server, held open by the official client in a thread of its own, and used from any thread."""

import asyncio
import atexit
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import mcp_types as types
from mcp import Client, MCPError

from espl_bench.errors import EnvError, first_line
from espl_bench.tools.mcp.transport import address, program
from espl_bench.tools.tool_spec import BadArgumentsError
from espl_bench.utils.terminal_text import clean

MOST_PAGES: Final = 16
"""Of a listing of tools."""
MOST_PARTS: Final = 100
"""Of one result; further ones are left out."""
MOST_SCHEMA_CHARS: Final = 20_000
GRACE_S: Final = 5.0
"""Seconds beyond the client's own limit after which a call is given up from outside, and in which a session may end."""

logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)  # it would print what a server sent to the terminal, as it is


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool as a server describes it."""

    name: str
    about: str
    schema: Mapping[str, Any]


class Described(Protocol):
    """How a server is reached: `McpTools`, whose words these are."""

    @property
    def command(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def url(self) -> str: ...  # noqa: D102
    @property
    def start_timeout_s(self) -> float: ...  # noqa: D102
    @property
    def max_bytes(self) -> int: ...  # noqa: D102
    @property
    def variables(self) -> Sequence[str]: ...  # noqa: D102


class McpSession:
    """A session. Thread-safe."""

    def __init__(self, server: Described) -> None:
        """Start or reach the server, and list its tools. Raises EnvError in one line."""
        self._server = server
        self.broken = False
        """True once the server has gone, so that a new session is needed."""
        self._end: Exception | None = None
        """How it went, as far as the transport knows."""
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._hold_open())
        self._ready: Future[tuple[OfferedTool, ...]] = Future()
        self._client: Client | None = None
        self._thread = threading.Thread(target=self._run, name="mcp", daemon=True)
        self._thread.start()
        atexit.register(self.close)
        try:
            self.tools = self._ready.result(server.start_timeout_s + GRACE_S)
        except Exception as error:
            self.close()
            raise EnvError(f"the MCP server {server} cannot be used: {_said(self._end or error)}") from error

    def call(self, tool: str, arguments: Mapping[str, Any], timeout_s: float) -> str:
        """Call a tool by the server's own name for it, and return the text of its result.

        Raises:
            BadArgumentsError: the server reports that the call failed.
            EnvError: the server is gone, does not answer in time, or breaks the protocol.
        """
        client = self._client
        if client is None or self.broken:
            raise EnvError(f"the MCP server {self._server} is gone")
        calling = asyncio.run_coroutine_threadsafe(client.call_tool(tool, dict(arguments), timeout_s), self._loop)
        try:
            result = calling.result(timeout_s + GRACE_S)
        except MCPError as error:
            if error.code == types.INVALID_PARAMS:
                raise BadArgumentsError(_said(error)) from error
            self.broken = self.broken or error.code == types.CONNECTION_CLOSED
            raise self._failed(tool, error) from error
        except Exception as error:
            calling.cancel()
            raise self._failed(tool, error) from error
        if result.is_error:
            raise BadArgumentsError(text_of(result))
        return text_of(result)

    def close(self) -> None:
        """End the session and the server's program. A second call does nothing."""
        atexit.unregister(self.close)
        self.broken = True
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(2 * GRACE_S)

    def _failed(self, tool: str, error: BaseException) -> EnvError:
        return EnvError(f"the tool {tool[:80]} of the MCP server {self._server} failed: {_said(self._end or error)}")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass  # closed
        except Exception as error:  # noqa: BLE001  # whatever a server makes the client raise is told to whoever waits
            if not self._ready.done():
                self._ready.set_exception(error)
        finally:
            self.broken = True
            if not self._ready.done():
                self._ready.set_exception(ConnectionError("its session ended before it began"))
            self._loop.close()

    async def _hold_open(self) -> None:
        server = self._server
        if server.url:
            transport = address(server.url, server.start_timeout_s, server.max_bytes)
        else:
            transport = program(server.command, server.variables, server.max_bytes)
        async with Client(transport, read_timeout_seconds=server.start_timeout_s, cache=None, message_handler=self._noticed) as client:
            async with asyncio.timeout(server.start_timeout_s):
                tools = await _listed(client)
            self._client = client
            self._ready.set_result(tools)
            await asyncio.Event().wait()  # until it is closed

    async def _noticed(self, message: object) -> None:
        """Take note of a transport that has failed."""
        if isinstance(message, Exception):
            self.broken, self._end = True, message


async def _listed(client: Client) -> tuple[OfferedTool, ...]:
    """List the tools, page by page."""
    found: list[OfferedTool] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            if len(json.dumps(tool.input_schema)) > MOST_SCHEMA_CHARS:
                raise EnvError(f"the schema of its tool {tool.name[:80]} is longer than {MOST_SCHEMA_CHARS:,} characters")
            found.append(OfferedTool(tool.name, tool.description or "", tool.input_schema))
        cursor = page.next_cursor
        if cursor is None:
            return tuple(found)
    raise EnvError(f"its list of tools has more than {MOST_PAGES} pages")


def text_of(result: types.CallToolResult) -> str:
    """Return the text of a result; what is no text is named."""
    parts = [_text(block) for block in result.content[:MOST_PARTS]]
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(parts)


def _text(block: object) -> str:
    match block:
        case types.TextContent(text=text):
            return text
        case types.EmbeddedResource(resource=types.TextResourceContents(text=text)):
            return text
        case _:
            return f"({getattr(block, 'type', 'part')} left out: only text can be shown)"


def _said(error: BaseException) -> str:
    """Return what an error says, in one line without control characters: a server may have written it."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if isinstance(error, TimeoutError) or (isinstance(error, MCPError) and error.code == types.REQUEST_TIMEOUT):
        return "it did not answer in time"
    return clean(first_line(error))[:400]
