"""Tinker client with health checks up front, our own timeouts, and one-line errors.

The SDK silently retries for minutes to hours, whether an address is wrong, a key is refused or a server has gone. So the key's form
and the service's health are checked first, every wait also checks that the service still answers, and every exception of the SDK
becomes one of our errors. The key is read from the environment, passed to the SDK, and masked in all messages.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import httpx
import tinker
from pydantic import SecretStr

from espl_bench.errors import EndpointError, EngineError, UsageError, unknown
from espl_bench.utils import key_names
from espl_bench.utils.redaction import mask_key

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

KEY_ENV = "TINKER_API_KEY"
"""Variable that holds the key unless another is named."""
BASE_URL_ENV = "TINKER_BASE_URL"
HOSTED = "https://tinker.thinkingmachines.dev/services/tinker-prod"
"""The SDK's own default."""
KEY_FORMS = ("tml-", "eyJ")
"""Prefixes of an API key and of a short-lived token."""
HEALTH_S = 5.0
"""Seconds within which a service must answer its health check."""
PROBE_S = 5.0
"""Seconds between two health checks while waiting."""
CLOSE_S = 5.0
"""Seconds that ending the session may take."""
MAX_DETAIL = 300
"""Maximum characters quoted from the service in a message."""

SDK_FAILURES = (tinker.TinkerError, httpx.HTTPError, OSError, RuntimeError, ValueError, AssertionError)
"""Exceptions of the SDK: its own, those of its transport, and plain ones for invalid requests."""


class Promised(Protocol[Result_co]):
    """The SDK's handle of a result that arrives later."""

    def future(self) -> Any:
        """Return a ``concurrent.futures.Future``."""
        ...


@dataclass(frozen=True, slots=True)
class _Promise(Generic[Result]):
    """Give a plain future the SDK's interface."""

    plain: "Future[Result]"

    def future(self) -> "Future[Result]":
        return self.plain


@dataclass(frozen=True, slots=True)
class ServiceAccess:
    """Address, key and time limits of a service."""

    base_url: str
    key: SecretStr
    key_env: str
    """Variable that holds the key, for messages."""
    away_s: float
    """Seconds that a service may be unreachable during a run."""
    idle_s: float
    """Seconds within which at least one of the requests in flight must be answered."""

    def words(self, error: BaseException) -> str:
        """Quote an error: one line, bounded, without credentials."""
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return self.masked(said)

    def masked(self, text: str) -> str:
        """Return a text of the service, bounded, without credentials."""
        return mask_key(text, self.key.get_secret_value())[:MAX_DETAIL]


def find_access(base_url: str | None, key_env: str | None, timeout_s: float, tries: int) -> ServiceAccess:
    """Find the address and the key. No request is made.

    Args:
        base_url: address of the service; None: the variable TINKER_BASE_URL, else the hosted service.
        key_env: the variable that holds the key; None: TINKER_API_KEY.
        timeout_s: see `ServiceAccess.away_s`.
        tries: times `timeout_s`, see `ServiceAccess.idle_s`.

    Raises:
        UsageError: the variable is not set, or its value cannot be a key. The value is not shown.
    """
    name = key_env or KEY_ENV
    key_names.require(name)
    value = os.environ.get(name, "").strip()
    if not value:
        raise UsageError(
            f"engine tinker needs a key in {name}, which is not set; export it (a server of your own takes any, e.g. tml-local)"
        )
    if not value.startswith(KEY_FORMS) or not (value.isascii() and value.isprintable()) or " " in value:
        raise UsageError(f"the value of {name} cannot be a Tinker key, which begins with tml-; export it again")
    address = (base_url or os.environ.get(BASE_URL_ENV) or HOSTED).rstrip("/")
    return ServiceAccess(address, SecretStr(value), name, timeout_s, timeout_s * tries)


class _LastWarning(logging.Handler):
    """Keeps the SDK's last warning (why it waits, for example), so that it can be quoted in our error."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = record.getMessage()


class Service:
    """One service through its SDK. Used from any event loop, one at a time."""

    def __init__(self, access: ServiceAccess) -> None:
        self.access = access
        self._probed_at = 0.0
        self._answers = True
        self._warnings = _LastWarning()
        logger = logging.getLogger("tinker")
        logger.propagate = False
        logger.addHandler(self._warnings)
        self.client = tinker.ServiceClient(base_url=access.base_url, api_key=access.key.get_secret_value())

    def require_healthy(self) -> None:
        """Raise EndpointError unless the service answers its health check within `HEALTH_S`."""
        try:
            with httpx.stream("GET", self._health, timeout=HEALTH_S) as answer:  # its body may be without end
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EndpointError(
                f"no Tinker service answers at {self.access.base_url} ({self.access.words(error)}); "
                f"start one, or name another with --base-url or {BASE_URL_ENV}"
            ) from error
        if status != 200:
            raise EndpointError(f"{self.access.base_url} answers {status} to {self._health}, so it is not a Tinker service; see --base-url")

    def context_of(self, model: str) -> int | None:
        """Return the tokens of the model's context; None if the service does not report it.

        Raises:
            UsageError: the service lists models without this one.
            EndpointError: the service refuses the key, or does not answer.
        """

        def ask() -> Promised[tinker.types.GetServerCapabilitiesResponse]:
            return tinker.RestClient(base_url=self.access.base_url, api_key=self.access.key.get_secret_value()).get_server_capabilities()

        answer = asyncio.run(self.made(ask, "listing its models"))
        served = {row.model_name: row for row in answer.supported_models if row.model_name}
        if served and model not in served:
            raise unknown(f"model at {self.access.base_url}", model, served)
        return served[model].max_context_length if model in served else None

    async def made(self, make: Callable[[], Promised[Result]], doing: str) -> Result:
        """Await what `make` promises. It runs in a thread, as making a client may send requests and wait. Raises as `results`."""
        promised: Future[Promised[Result]] = Future()

        def run() -> None:
            try:
                promised.set_result(make())
            except SDK_FAILURES as error:
                promised.set_exception(error)

        threading.Thread(target=run, daemon=True).start()  # a thread pool would delay the end of the process
        return await self.result(await self.result(_Promise(promised), doing), doing)

    async def result(self, promised: Promised[Result], doing: str) -> Result:
        """Await the result of one request. Raises as `results`."""
        [result] = await self.results([promised], doing)
        return result

    async def results(self, promised: Sequence[Promised[Result]], doing: str) -> list[Result]:
        """Await the results of several requests, in order. The first failure, or a cancelled wait, cancels the others.

        Raises:
            EndpointError: the service refuses the key.
            EngineError: a request failed, none was answered for too long, or the service is gone. `doing` is what it was asked for.
        """
        waiting = [asyncio.wrap_future(promise.future()) for promise in promised]
        try:
            await self._watch(waiting, doing)
            return [future.result() for future in waiting]
        except SDK_FAILURES as error:
            raise self._told(error, doing) from error
        finally:
            for future in waiting:
                if not future.cancel() and not future.cancelled():
                    future.exception()  # asyncio would print exceptions that were never retrieved

    async def _watch(self, waiting: Sequence["asyncio.Future[Any]"], doing: str) -> None:
        """Return when all are done or one has failed; raise EngineError when a deadline passes."""
        pending = set(waiting)
        seen = answered = time.monotonic()
        while pending:
            done, pending = await asyncio.wait(pending, timeout=PROBE_S, return_when=asyncio.FIRST_EXCEPTION)
            now = time.monotonic()
            if done:
                seen = answered = now
            if any(future.cancelled() or future.exception() for future in done):
                return
            if not done and await self._is_reachable():
                seen = time.monotonic()
            if now - seen > self.access.away_s:
                raise EngineError(f"{self.access.base_url} has been out of reach for {now - seen:.0f} s while it was {doing}")
            if now - answered > self.access.idle_s:
                words = f"answered no request for {now - answered:.0f} s while it was {doing}{self._last_words()}"
                raise EngineError(f"{self.access.base_url} {words}")

    def _last_words(self) -> str:
        return f" (the SDK: {self.access.masked(' '.join(self._warnings.said.split()))})" if self._warnings.said else ""

    async def _is_reachable(self) -> bool:
        """Return True if the service answers its health check. Concurrent waits share one check."""
        if time.monotonic() - self._probed_at > PROBE_S:
            self._probed_at = time.monotonic()
            async with httpx.AsyncClient(timeout=HEALTH_S) as probe:
                try:
                    async with asyncio.timeout(HEALTH_S), probe.stream("GET", self._health) as answer:
                        self._answers = answer.status_code == 200
                except (httpx.HTTPError, TimeoutError):
                    self._answers = False
        return self._answers

    def _told(self, error: BaseException, doing: str) -> EndpointError | EngineError:
        where = self.access.base_url
        if isinstance(error, RuntimeError) and error.__cause__ is not None:  # "a previous request failed": which one
            error = error.__cause__
        if isinstance(error, tinker.AuthenticationError | tinker.PermissionDeniedError):
            return EndpointError(f"{where} refuses the key in {self.access.key_env} ({self.access.words(error)}); set the right one")
        return EngineError(f"{where} failed while it was {doing} ({self.access.words(error)})")

    async def close(self) -> None:
        """Tell the service that the session is over, best effort."""
        try:
            await asyncio.wait_for(asyncio.wrap_future(self.client.close("success").future()), CLOSE_S)
        except (TimeoutError, *SDK_FAILURES):
            return  # the service notices by itself when the heartbeats stop

    @property
    def _health(self) -> str:
        return f"{self.access.base_url}/api/v1/healthz"
