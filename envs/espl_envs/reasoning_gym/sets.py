"""Which sets of reasoning-gym are served, and how a combination of them is written.

`sets.json` is written by `benchmarks/reasoning_gym_sets.py`, which puts every set to the contract of an environment.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from espl_bench.errors import UsageError, unknown

FAMILY: Final = "reasoning-gym"
AND: Final = "+"
"""Stands between the sets of a combination."""
LIST: Final = Path(__file__).with_name("sets.json")


@cache
def _verdicts() -> Mapping[str, str]:
    return json.loads(LIST.read_text(encoding="utf-8"))["sets"]


def served_sets() -> tuple[str, ...]:
    """Return the names of the sets that are served, sorted."""
    return tuple(sorted(name for name, refusal in _verdicts().items() if not refusal))


def parse_sets(text: str) -> tuple[str, ...]:
    """Read ``countdown`` or ``countdown+chain_sum``; return the sets, sorted.

    Raises UsageError for a set that there is not, that is not served, or that is named twice.
    """
    names = text.split(AND)
    for name in names:
        if name not in _verdicts():
            raise unknown(f"set of {FAMILY}", name, served_sets())
        if refusal := _verdicts()[name]:
            raise UsageError(f"{FAMILY}:{name} is not served: {refusal}; `espl-bench envs --json` lists those that are")
    if len(set(names)) < len(names):
        raise UsageError(f"{FAMILY}:{text} names a set twice; name each once")
    return tuple(sorted(names))


def joined(sets: Sequence[str]) -> str:
    """Write sets as `parse_sets` reads them."""
    return AND.join(sets)
