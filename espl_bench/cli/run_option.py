"""One option of a run, as the command line declares it. Nothing heavy is imported here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from espl_bench.registry import Seam


@dataclass(frozen=True, slots=True)
class RunOption:
    """One choice of a run that the command line may make."""

    field: str
    """Flat name in the configuration, or a field of Method."""
    kind: type[str] | type[int] | type[float] | type[bool]
    """A bool is a flag with a --no- form."""
    panel: str
    help: str
    default: str
    """As the help states it."""
    choices: tuple[str, ...] = ()
    seam: "Seam | None" = None
    """What installed packages may add to the values."""
    formerly: str = ""
    """Earlier name, whose flag is still accepted."""
    word: str = ""
    """What may stand for the number that the program works out, which is the default."""

    @property
    def flag(self) -> str:
        """Return the flag as typed."""
        return flag_of(self.field)


def flag_of(field: str) -> str:
    """Return the flag of a field."""
    return f"--{field.replace('_', '-')}"
