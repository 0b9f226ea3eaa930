"""Metadata of a configuration field, beyond its type, its default and its description."""

from dataclasses import dataclass

from pydantic.fields import FieldInfo

from espl_bench.registry import Seam


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
    typed: bool = True
    """True if the field has a plain flag: one flag, one value."""
    axis: bool = False
    """True if an axis of a sweep sets it, rather than an option."""
    decided_by_service: bool = False
    """True if a service that trains does not let the user choose it."""


_PLAIN = Flag()


def flag_metadata(info: FieldInfo) -> Flag:
    """Return the metadata of a field."""
    return next((item for item in info.metadata if isinstance(item, Flag)), _PLAIN)
