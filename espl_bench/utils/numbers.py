"""Whole numbers in options, files and requests: ``True`` is rejected, although Python counts it as an int."""

from typing import TypeGuard


def is_whole(value: object, least: int = 1) -> TypeGuard[int]:
    """Return whether a value is an int, not a bool, of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
