"""Whole numbers as options, files and requests give them: ``True`` is none, although Python counts it as an int."""

from typing import TypeGuard


def is_whole(value: object, least: int = 1) -> TypeGuard[int]:
    """Whether a value is an int, not a bool, of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
