"""One OpenAI-compatible endpoint over HTTP: what goes over the wire, what is tried again, and what never leaves this module.

The key is read from the environment when the endpoint is opened. It travels in one header, is held where no representation
shows it, and is blanked out of everything the endpoint sends back. What may pass (429, 5xx, a broken connection, a body
that is no JSON, no answer in time) is tried again with exponential backoff and full jitter; the rest is one line at once.
"""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast

import httpx2
from pydantic import SecretStr
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from espl_bench.errors import EndpointError, UsageError
from espl_bench.utils.redaction import MASK, mask_text
from espl_bench.utils.retries import may_pass

Read = TypeVar("Read")

KEY_ENV = "OPENAI_API_KEY"
"""Where the key is looked for unless another variable is named."""
FIRST_WAIT_S = 1.0
"""Upper end of the first backoff; each further one is twice as long."""
LONGEST_WAIT_S = 60.0
"""Upper end of any backoff."""
LONGEST_RETRY_AFTER_S = 300.0
"""A Retry-After beyond this ends the run instead of sitting it out."""
CONNECT_S = 30.0
MAX_BODY = 16 * 2**20
"""Bytes of an answer."""
MAX_DETAIL = 300
"""Characters of an endpoint's own words in a message."""

_SPENT_QUOTA = "insufficient_quota"
"""OpenAI's code for a 429 that waiting does not mend."""


class TransientError(Exception):
    """A failure that may have passed at the next try."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        """`retry_after_s`: the endpoint asks not to come back sooner."""
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class RefusedError(EndpointError):
    """An answer that another try would not change."""

    def __init__(self, message: str, status: int, code: str | None, param: str | None) -> None:
        """`code` and `param` are the endpoint's own names for what is wrong and with which parameter."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


@dataclass(frozen=True, slots=True)
class EndpointAccess:
    """How an endpoint is reached."""

    base_url: str
    """As in ``http://127.0.0.1:8000/v1``."""
    key: SecretStr | None
    key_env: str
    """The variable the key is looked for in, for messages."""
    timeout_s: float
    """Of one try, from the connection to the last byte."""
    tries: int


def read_key(variable: str | None) -> SecretStr | None:
    """The key from the environment; None if no variable is named and the usual one is not set (a server without a key).

    Raises:
        UsageError: the named variable is not set, or holds what cannot be a key. The value is not shown.
    """
    name = variable or KEY_ENV
    value = os.environ.get(name, "").strip()
    if not value:
        if variable is None:
            return None
        raise UsageError(f"--api-key-env names {name}, which is not set; export it, or name another variable")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise UsageError(f"the value of {name} cannot be a key: it holds blanks or other than ASCII; export it anew")
    return SecretStr(value)


class Endpoint:
    """A connection pool to one endpoint. Used from one event loop."""

    def __init__(self, access: EndpointAccess) -> None:
        """Nothing is connected yet."""
        self.access = access
        secret = access.key.get_secret_value() if access.key else None
        self._secret = secret
        self._client = httpx2.AsyncClient(
            base_url=access.base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {secret}"} if secret else {},
            timeout=httpx2.Timeout(None, connect=CONNECT_S),  # each try has one limit for all of it
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
            follow_redirects=False,  # the key goes nowhere else
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, path: str, read: Callable[[dict[str, Any]], Read]) -> Read:
        """What `read` makes of a JSON object. Raises as `post`."""
        return await self._call("GET", path, None, read)

    async def post(self, path: str, body: Mapping[str, Any], read: Callable[[dict[str, Any]], Read]) -> Read:
        """Send JSON and return what `read` makes of the JSON object that comes back.

        Args:
            path: below the endpoint's address.
            body: what is sent.
            read: raises TransientError for an object that is worth another try.

        Raises:
            RefusedError: the endpoint will not do this, however often it is asked.
            EndpointError: it did not answer after every try.
        """
        return await self._call("POST", path, body, read)

    def clean(self, text: str) -> str:
        """A text of the endpoint's without the key, should it have been echoed."""
        return text.replace(self._secret, MASK) if self._secret else text

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None, read: Callable[[dict[str, Any]], Read]) -> Read:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.access.tries), wait=_wait_s, retry=retry_if_exception_type(TransientError), reraise=True
        )
        try:
            return await retrying(self._once, method, path, body, read)
        except TransientError as error:
            tries = f"{self.access.tries} tries" if self.access.tries > 1 else "its only try"
            raise EndpointError(f"{self.access.base_url} did not answer after {tries}, the last: {error}") from error

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None, read: Callable[[dict[str, Any]], Read]) -> Read:
        try:
            async with asyncio.timeout(self.access.timeout_s), self._client.stream(method, path, json=body) as response:
                data = await _read(response, self.access.base_url)
        except TimeoutError as error:
            raise TransientError(f"no whole answer within {self.access.timeout_s:g} s") from error
        except httpx2.RequestError as error:
            raise TransientError(f"{type(error).__name__} {self._words(str(error))}".strip()) from error
        try:
            parsed: object = json.loads(data)
        except (ValueError, RecursionError):
            parsed = None
        found = cast(dict[str, Any], parsed) if isinstance(parsed, dict) else None
        if response.status_code == 200:
            if found is None:
                raise TransientError("a body that is no JSON object")
            return read(found)
        raise self._failure(response, found, data)

    def _failure(self, response: httpx2.Response, found: dict[str, Any] | None, data: bytes) -> TransientError | EndpointError:
        """What an error status means."""
        status = response.status_code
        inner: object = (found or {}).get("error", found)
        error: dict[str, Any] = cast(dict[str, Any], inner) if isinstance(inner, dict) else {}
        code, param = (value if isinstance(value := error.get(name), str) else None for name in ("code", "param"))
        message = error.get("message")
        said = self._words(message if isinstance(message, str) else data[: 4 * MAX_DETAIL].decode("utf-8", "replace"))
        words = f"status {status}{f': {said}' if said else ''}"
        if may_pass(status) and not (status < 500 and code == _SPENT_QUOTA):
            wait = _retry_after_s(response.headers.get("retry-after"))
            if wait > LONGEST_RETRY_AFTER_S:
                return EndpointError(f"{self.access.base_url} asks to come back in {wait:.0f} s ({words})")
            return TransientError(words, wait)
        where = self.access.base_url
        if status in (401, 403):
            sent = f"the key in {self.access.key_env}" if self._secret else f"to answer without a key ({self.access.key_env} is not set)"
            return RefusedError(f"{where} refuses {sent} ({words}); set the right one, or name another variable", status, code, param)
        if 300 <= status < 400:
            return RefusedError(
                f"{where} redirects elsewhere, which is not followed ({words}); name the final address", status, code, param
            )
        return RefusedError(f"{where} refuses the request ({words})", status, code, param)

    def _words(self, text: str) -> str:
        """An endpoint's own words: one line, bounded, without credentials."""
        return mask_text(self.clean(" ".join(text.split())))[:MAX_DETAIL]


async def _read(response: httpx2.Response, where: str) -> bytes:
    """The body, up to its bound."""
    data = bytearray()
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > MAX_BODY:
            raise EndpointError(f"{where} sent an answer of more than {MAX_BODY // 2**20} MiB, which is not read; is it a chat endpoint?")
    return bytes(data)


def _wait_s(state: RetryCallState) -> float:
    """Full jitter below a bound that doubles, and never less than the endpoint asked for."""
    backoff = wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)(state)
    error = state.outcome.exception() if state.outcome else None
    return backoff + error.retry_after_s if isinstance(error, TransientError) else backoff


def _retry_after_s(header: str | None) -> float:
    """Seconds of a Retry-After header, which holds a number or a date; 0 for none and for nonsense."""
    if header is None:
        return 0.0
    text = header.strip()
    if text.isascii() and text.replace(".", "", 1).isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
