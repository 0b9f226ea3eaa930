"""Retry policy: when another try may help, and how long to wait. Tenacity is optional, and is loaded on use."""

from importlib import import_module
from typing import Any

PASSING_STATUS = frozenset({408, 409, 425, 429})
"""HTTP errors that may be transient, in addition to all server errors."""


def may_pass(status: int) -> bool:
    """Return whether an HTTP status is worth another try."""
    return status in PASSING_STATUS or status >= 500


def retrying(tries: int, kinds: type[Exception] | tuple[type[Exception], ...], first_wait_s: float, longest_wait_s: float) -> Any:
    """Return a caller of functions that retries after errors of these kinds, with full jitter below a bound that doubles.

    The last error is re-raised unchanged. Raises ModuleNotFoundError without tenacity.
    """
    tenacity: Any = import_module("tenacity")
    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(tries),
        wait=tenacity.wait_random_exponential(multiplier=first_wait_s, max=longest_wait_s),
        retry=tenacity.retry_if_exception_type(kinds),
        reraise=True,
    )
