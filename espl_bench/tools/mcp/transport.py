"""The two ways to an MCP server, with a limit on what it may send: the official client's own would keep whatever comes in memory."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
import httpx2
from mcp.client.stdio import get_default_environment
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

KEPT_BYTES: Final = 300
"""Of what a program wrote last to its standard error, for the message about its end."""
LAST_WORDS_S: Final = 0.5
"""Seconds in which these are read once it has ended."""
GRACE_S: Final = 2.0
"""Seconds in which a program whose input is closed may end by itself."""

Streams = tuple[Any, Any]
"""What the client reads from and writes to."""


class ProgramEndedError(Exception):
    """A server's program ended, or sent what is no message. The message says how, in one line."""


@asynccontextmanager
async def program(command: Sequence[str], variables: Sequence[str], max_bytes: int) -> AsyncGenerator[Streams]:
    """Start a program, and speak with it over its standard streams, a message a line. Its process group is ended in the end.

    Raises OSError if it cannot be started.
    """
    environment = get_default_environment() | {name: os.environ[name] for name in variables if name in os.environ}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, limit=max_bytes, start_new_session=True
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    to_client, reading = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    writing, from_client = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process.stdout, to_client, process.stderr)
            tasks.start_soon(_write, from_client, process.stdin)
            yield reading, writing
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)
        for stream in (to_client, reading, writing, from_client):
            stream.close()


async def _read(output: asyncio.StreamReader, to_client: Any, errors: asyncio.StreamReader) -> None:
    """Pass lines on as messages until the program ends, or sends what is none; the client is told why there are no more."""
    kept = bytearray()
    draining = asyncio.create_task(_keep_last(errors, kept))
    async with to_client:
        try:
            while line := await output.readline():
                if line.strip():
                    await to_client.send(SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False)))
            await asyncio.wait({draining}, timeout=LAST_WORDS_S)
            fault = f"its program ended: {' '.join(kept.decode('utf-8', errors='replace').split())}"
        except ValueError as error:  # a line that is too long, or no message
            fault = "it sent a message that is too long" if "limit" in str(error) else "it sent what is no message"
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return
        finally:
            draining.cancel()
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await to_client.send(ProgramEndedError(fault))


async def _keep_last(errors: asyncio.StreamReader, kept: bytearray) -> None:
    while chunk := await errors.read(65_536):
        kept += chunk
        del kept[:-KEPT_BYTES]


async def _write(from_client: Any, stdin: asyncio.StreamWriter) -> None:
    async with from_client:
        with suppress(OSError):
            async for message in from_client:
                stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await stdin.drain()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its input, give it a moment, and end it with everything that it started."""
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), GRACE_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


@asynccontextmanager
async def address(url: str, timeout_s: float, max_bytes: int) -> AsyncGenerator[Streams]:
    """Speak with a server at an address, past any proxy that the surroundings name."""
    transport = _Limited(httpx2.AsyncHTTPTransport(), max_bytes)
    async with (
        httpx2.AsyncClient(transport=transport, timeout=timeout_s, trust_env=False) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=max_bytes) as streams,
    ):
        yield streams


class _Limited(httpx2.AsyncBaseTransport):
    """Cuts off answers that are longer than allowed."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, max_bytes: int) -> None:
        self._inner = inner
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request, with a body that stops at the limit."""
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_LimitedStream(response.stream, self._max_bytes),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _LimitedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, left: int) -> None:
        self._inner = inner
        self._left = left

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise httpx2.ReadError("the answer is longer than allowed")
            yield chunk

    async def aclose(self) -> None:
        """Close the answer."""
        await self._inner.aclose()
