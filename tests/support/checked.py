"""Values of which their types say less than a test knows: checked, and narrowed."""

from typing import TypeVar

T = TypeVar("T")


def present(found: T | None) -> T:
    assert found is not None
    return found


def integer(found: object) -> int:
    assert isinstance(found, int)
    return found
