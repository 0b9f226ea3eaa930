"""When another try may help, and how long to wait before it. Tenacity is optional: it is loaded when something is tried."""

from importlib import import_module
from typing import Any

PASSING_STATUS = frozenset({408, 409, 425, 429})
"""Refusals of HTTP that may have passed at the next try, besides all of a server's own failures."""


def may_pass(status: int) -> bool:
    """Whether an HTTP status is worth another try."""
    return status in PASSING_STATUS or status >= 500


def retrying(tries: int, kinds: type[Exception] | tuple[type[Exception], ...], first_wait_s: float, longest_wait_s: float) -> Any:
    """A caller of functions that tries again after errors of these kinds, with full jitter below a bound that doubles.

    The last error is raised as it is. Raises ModuleNotFoundError without tenacity.
    """
    tenacity: Any = import_module("tenacity")
    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(tries),
        wait=tenacity.wait_random_exponential(multiplier=first_wait_s, max=longest_wait_s),
        retry=tenacity.retry_if_exception_type(kinds),
        reraise=True,
    )
