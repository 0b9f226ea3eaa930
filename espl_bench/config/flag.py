"""Metadata of a configuration field, beyond its type, its default and its description."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic.fields import FieldInfo

from espl_bench.registry import Seam


class Affects(StrEnum):
    """What an option can change. Runs that differ in nothing that affects them, but for the seed, are one configuration."""

    RESULT = "result"
    """The result of any method."""
    LEARNING = "learning"
    """Only methods that learn."""
    WEIGHTS = "weights"
    """Only methods whose weights learn."""
    WORDS = "words"
    """Only methods that write prompts."""
    NOTHING = "nothing"
    """No result, but for rounding: where and how fast it is computed, when it is saved, and how often it is measured."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Metadata of a field, as in ``lr: Annotated[float, Flag(...)]``. A field without it has the defaults below."""

    default: str = ""
    """Default as the help states it, if the value alone does not explain it, e.g. None."""
    panel: str = ""
    """Panel of the help; empty: the section's."""
    lists_choices: bool = False
    """True if the description names the choices itself, e.g. because installed packages may add to them."""
    seam: Seam | None = None
    """What installed packages may add to the values; the command line then knows a wrong name before anything is loaded."""
    formerly: str = ""
    """Earlier name. It is still read from files and accepted as a flag."""
    word: str = ""
    """What may be typed in place of a number for None, the number that the program works out."""
    typed: bool = True
    """True if the field has a plain flag: one flag, one value."""
    axis: bool = False
    """True if an axis of a sweep sets it, rather than an option."""
    decided_by_service: bool = False
    """True if a service that trains does not let the user choose it."""
    affects: Affects | None = None
    """What the option can change; None: as the section says."""


_PLAIN = Flag()


def flag_metadata(info: FieldInfo) -> Flag:
    """Return the metadata of a field."""
    return next((item for item in info.metadata if isinstance(item, Flag)), _PLAIN)
