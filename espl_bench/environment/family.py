"""Families of environments: ``family:member``, for a package that serves more environments than could be registered one by one.

A family is named under the entry point group `espl_bench.env_families`. It makes the spec of a member when one is asked for, and
its members are used like any other environment: `--env reasoning-gym:countdown`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from espl_bench.environment.text_env import EnvironmentSpec

BETWEEN: Final = ":"
"""Stands between the name of a family and that of a member."""


@dataclass(frozen=True)
class EnvironmentFamily:
    """Facts about a family that the harness needs."""

    name: str
    """What stands before the colon."""
    gym_id: str
    """Versioned id for `gymnasium.make`, the same for all members; `example` is made unless the arguments say otherwise."""
    entry_point: str
    """``module:name`` of the callable that makes a member."""
    summary: str
    members: Callable[[], Sequence[str]]
    """Returns the names of members, without the family's; there may be more, such as combinations. Imports no other package."""
    member: Callable[[str], EnvironmentSpec]
    """Returns the spec of a member, whose name is ``family:member``. Raises UsageError in one line, with the nearest known name."""
    example: str
    """A member, for messages."""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of the entry point that make `example`."""

    def full(self, member: str) -> str:
        """Return the full name of a member."""
        return f"{self.name}{BETWEEN}{member}"
