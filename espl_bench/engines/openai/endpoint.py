"""Client of one OpenAI-compatible endpoint over HTTP: requests, retries, and protection of the key.

The key is read from the environment when the endpoint is opened. It is sent in one header, never appears in a `repr`, and is
masked in errors that quote the endpoint; what the model said is never changed. Transient failures (429, 5xx, a broken connection, a
body that is not JSON, no answer in time) are retried with exponential backoff and full jitter; any other failure is a one-line error
at once.
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
from espl_bench.utils import key_names
from espl_bench.utils.decoding import ACCEPTED, BoundedBody, DecodingError
from espl_bench.utils.redaction import UNMISTAKABLE, mask_key
from espl_bench.utils.retries import may_pass

Read = TypeVar("Read")

KEY_ENV = "OPENAI_API_KEY"
"""Variable that holds the key unless another is named."""
FIRST_WAIT_S = 1.0
"""Upper end of the first backoff; each further one is twice as long."""
LONGEST_WAIT_S = 60.0
"""Upper end of any backoff."""
LONGEST_RETRY_AFTER_S = 300.0
"""A longer Retry-After ends the run instead of waiting."""
CONNECT_S = 30.0
MAX_BODY = 16 * 2**20
"""Maximum bytes of an answer."""
MAX_DETAIL = 300
"""Maximum characters quoted from an endpoint in a message."""

_SPENT_QUOTA = "insufficient_quota"
"""OpenAI's code for a 429 that waiting does not fix."""


class TransientError(Exception):
    """A failure that another try may not meet again."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        """Set the reason; `retry_after_s` is the least wait that the endpoint asks for."""
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class EndpointRefusedError(EndpointError):
    """An answer that another try would not change."""

    def __init__(self, message: str, status: int, code: str | None, param: str | None) -> None:
        """Set the message; `code` and `param` are the endpoint's own names for the error and the parameter at fault."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


@dataclass(frozen=True, slots=True)
class EndpointAccess:
    """Address, key and limits of an endpoint."""

    base_url: str
    """For example ``http://127.0.0.1:8000/v1``."""
    key: SecretStr | None
    key_env: str
    """Variable that holds the key, for messages."""
    timeout_s: float
    """Limit of one try, from the connection to the last byte."""
    tries: int


def read_key(variable: str | None) -> SecretStr | None:
    """Read the key from the environment; None if no variable is named and the usual one is not set (a server without a key).

    Raises:
        UsageError: the named variable may not be sent, or is not set, or its value cannot be a key. The value is not shown.
    """
    name = variable or KEY_ENV
    value = os.environ.get(name, "").strip()
    if not value:
        if variable is None:
            return None
        key_names.require(name)
        raise UsageError(f"--api-key-env names {name}, which is not set; export it, or name another variable")
    key_names.require(name)
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise UsageError(f"the value of {name} cannot be a key: it holds blanks or non-ASCII characters; export it again")
    return SecretStr(value)


class Endpoint:
    """A connection pool to one endpoint. Used from one event loop."""

    def __init__(self, access: EndpointAccess) -> None:
        self.access = access
        secret = access.key.get_secret_value() if access.key else None
        self._secret = secret
        self._client = httpx2.AsyncClient(
            base_url=access.base_url.rstrip("/") + "/",
            headers={"Accept-Encoding": ACCEPTED} | ({"Authorization": f"Bearer {secret}"} if secret else {}),
            timeout=httpx2.Timeout(None, connect=CONNECT_S),  # each try has one limit for all of it
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
            follow_redirects=False,  # the key goes nowhere else
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, path: str, read: Callable[[dict[str, Any]], Read]) -> Read:
        """Return the result of `read` on a JSON object. Raises as `post`."""
        return await self._call("GET", path, None, read)

    async def post(self, path: str, body: Mapping[str, Any], read: Callable[[dict[str, Any]], Read]) -> Read:
        """Send JSON and return the result of `read` on the JSON object that comes back.

        Args:
            path: below the endpoint's address.
            body: what is sent.
            read: raises TransientError for an object that is worth another try.

        Raises:
            RefusedError: the endpoint will not do this, however often it is asked.
            EndpointError: it did not answer after every try.
        """
        return await self._call("POST", path, body, read)

    def refuse_echo(self, text: str) -> None:
        """Raise EndpointError if a model's text quotes the key: it must not reach the disk, and a mask would change the answer."""
        if self._secret and len(self._secret) >= UNMISTAKABLE and self._secret in text:
            raise EndpointError(
                f"{self.access.base_url} quotes the key in {self.access.key_env} in an answer, which would be stored with it; "
                "replace the key, and use an endpoint that does not quote it"
            )

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
        reply = cast(dict[str, Any], parsed) if isinstance(parsed, dict) else None
        if response.status_code == 200:
            if reply is None:
                raise TransientError("a body that is not a JSON object")
            return read(reply)
        raise self._failure(response, reply, data)

    def _failure(self, response: httpx2.Response, reply: dict[str, Any] | None, data: bytes) -> TransientError | EndpointError:
        """Convert an error status to the exception to raise."""
        status = response.status_code
        inner: object = (reply or {}).get("error", reply)
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
            return EndpointRefusedError(
                f"{where} refuses {sent} ({words}); set the right one, or name another variable", status, code, param
            )
        if 300 <= status < 400:
            return EndpointRefusedError(
                f"{where} redirects elsewhere, which is not followed ({words}); name the final address", status, code, param
            )
        return EndpointRefusedError(f"{where} refuses the request ({words})", status, code, param)

    def _words(self, text: str) -> str:
        """Quote an endpoint's text: one line, bounded, without credentials."""
        return mask_key(" ".join(text.split()), self._secret)[:MAX_DETAIL]


async def _read(response: httpx2.Response, where: str) -> bytes:
    """Read the body, up to its bound, which holds after decoding. Raises TransientError for one that is broken."""
    try:
        body = BoundedBody(response.headers.get("content-encoding"), MAX_BODY)
        async for chunk in response.aiter_raw():
            body.add(chunk)
            if body.exceeds:
                raise EndpointError(
                    f"{where} sent an answer of more than {MAX_BODY // 2**20} MiB, which is not read; is it a chat endpoint?"
                )
    except DecodingError as error:
        raise TransientError(f"a body that cannot be read: it {error}") from error
    return body.content


def _wait_s(state: RetryCallState) -> float:
    """Return a wait with full jitter below a bound that doubles, and never less than the endpoint asked for."""
    backoff = wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S)(state)
    error = state.outcome.exception() if state.outcome else None
    return backoff + error.retry_after_s if isinstance(error, TransientError) else backoff


def _retry_after_s(header: str | None) -> float:
    """Parse a Retry-After header, a number or a date, to seconds; 0 for a missing or malformed one."""
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
