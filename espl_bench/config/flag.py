"""What a field of the configuration says of itself beyond its type, its default and its description."""

from dataclasses import dataclass

from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Flag:
    """Metadata of a field, as in ``lr: Annotated[float, Flag(...)]``. A field without it has the values below."""

    default: str = ""
    """Default as the help states it, where the value alone does not say it, e.g. of a None."""
    panel: str = ""
    """Panel of the help; empty: the section's."""
    lists_choices: bool = False
    """Whether the description names the choices itself, e.g. because installed packages may add to them."""
    formerly: str = ""
    """Earlier name. It is still read from files and accepted as a flag."""
    typed: bool = True
    """Whether the field has a flag of the plain kind: one flag, one value."""
    axis: bool = False
    """Whether an axis of a sweep sets it, rather than an option."""
    decided_by_service: bool = False
    """Whether a service that trains leaves no choice of it."""


_PLAIN = Flag()


def flag_metadata(info: FieldInfo) -> Flag:
    """Return the metadata of a field."""
    return next((each for each in info.metadata if isinstance(each, Flag)), _PLAIN)
