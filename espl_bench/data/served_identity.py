"""Identity of the items that an environment serves: one hash per split, of everything that an item holds.

The items are read one after the other and not kept. A split of up to a stated number of items is hashed whole. Of a longer one, which may
be endless in effect, that many evenly spread items are hashed, and the identity says so: ``50000 of 1000000000 items: 3fa2…``.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, cast

from espl_bench.types import Problem


def served_identity(size: int, item: Callable[[int], Problem], most: int) -> str:
    """Return the SHA-256 over a split's items in order, with their number if not all of them are hashed.

    Args:
        size: number of items.
        item: returns item `index`.
        most: maximum number of items to hash.
    """
    digest = hashlib.sha256()
    for index in _places(size, most):
        digest.update(_line(item(index)))
    return digest.hexdigest() if size <= most else f"{most} of {size} items: {digest.hexdigest()}"


def _places(size: int, most: int) -> Iterator[int]:
    """Yield all places, or `most` evenly spread ones, the first and the last among them."""
    if size <= most:
        yield from range(size)
    else:
        yield from (number * (size - 1) // max(1, most - 1) for number in range(most))


def _line(problem: Problem) -> bytes:
    return json.dumps(_plain(problem), ensure_ascii=True, sort_keys=True).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    """Return a value in JSON that is the same in every process: no addresses, no order of sets. Floats keep all their digits."""
    if value is None or isinstance(value, bool | int | float | str):
        return value.value if isinstance(value, Enum) else value
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast(list[Any], value)]
    if isinstance(value, set | frozenset):
        return sorted((_plain(each) for each in cast(set[Any], value)), key=lambda each: json.dumps(each, sort_keys=True))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return _plain(value.value)
    state = getattr(value, "__dict__", None)
    return [type(value).__qualname__, _plain(state) if state else str(value)]
