"""Numbers in options, files, requests and rows: which are whole, and how large one may be."""

from typing import Final, TypeGuard

MAX_FLOAT: Final = 1e150
"""Floats in rows and records stay below it in size, so that their squares are finite."""


def is_whole(value: object, least: int = 1) -> TypeGuard[int]:
    """Return whether a value is an int of at least `least`, and not a bool, although Python counts ``True`` as an int."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_bounded(value: float) -> bool:
    """Return whether a number can stand in a row: it is finite, and below `MAX_FLOAT` in size."""
    return abs(value) < MAX_FLOAT
