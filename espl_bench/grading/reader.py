"""What the readers of values ask of one another: to read the parts of a text."""

from collections.abc import Sequence
from typing import Any, Protocol

from espl_bench.grading.conventions import Conventions
from espl_bench.grading.notation import Token
from espl_bench.grading.readings import Opaque, Reading


class Reader(Protocol):
    """Reads the parts of a text."""

    by: Conventions

    def value(self, found: Sequence[Token]) -> Reading:
        """Read a value of any kind. Raises UnreadableError."""
        ...

    def formula(self, found: Sequence[Token]) -> Any:
        """Read a formula without a unit. Raises UnreadableError."""
        ...


def opaque(found: Sequence[Token]) -> Opaque:
    """Return tokens that are compared one by one."""
    return Opaque(
        tuple(token.text.replace(":", "mid") if token.text in (":", "|") else token.text for token in found if token.text not in "{}")
    )
