"""The flat form of a configuration: one name per choice, as used by flags, grids and defaults of environments."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from espl_bench.config.flag import Affects, Flag, flag_metadata
from espl_bench.config.sections import Section


@dataclass(frozen=True, slots=True)
class FlatField:
    """A choice and its place in the sections."""

    name: str
    """Flat name, unique in a configuration."""
    section: str
    """Name of the section; empty for a field of the configuration itself."""
    field: str
    """Name inside the section."""
    panel: str
    affects: Affects
    info: FieldInfo

    @property
    def flag(self) -> Flag:
        """Return its metadata."""
        return flag_metadata(self.info)


@cache
def flat_fields(model: type[Section]) -> Mapping[str, FlatField]:
    """Return the choices of a configuration, those of its sections included, by flat name."""
    return {choice.name: choice for choice in _fields(model)}


def _fields(model: type[Section]) -> Iterator[FlatField]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            section = info.annotation
            for field, inner in section.model_fields.items():
                yield _flat(section.prefix + field, name, field, section, inner)
        else:
            yield _flat(name, "", name, model, info)


def _flat(name: str, section_name: str, field: str, section: type[Section], info: FieldInfo) -> FlatField:
    flag = flag_metadata(info)
    return FlatField(name, section_name, field, flag.panel or section.panel, flag.affects or section.affects, info)


@cache
def former_names(model: type[Section]) -> Mapping[str, str]:
    """Return earlier names of choices with their present ones."""
    return {choice.flag.formerly: name for name, choice in flat_fields(model).items() if choice.flag.formerly}


def flatten(config: Section) -> dict[str, Any]:
    """Return every choice by flat name."""
    fields = flat_fields(type(config)).items()
    return {name: getattr(getattr(config, choice.section) if choice.section else config, choice.field) for name, choice in fields}


def into_sections(model: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with every flat or former name moved to its place in the sections; unknown names stay where they are."""
    arranged: dict[str, Any] = {}
    moved: dict[str, dict[str, Any]] = {}
    fields, former = flat_fields(model), former_names(model)
    for name, value in values.items():
        choice = fields.get(former.get(name, name))
        if choice is None or not choice.section:
            arranged[name] = value
        else:
            moved.setdefault(choice.section, {})[choice.field] = value
    for section, choices in moved.items():
        there = arranged.get(section, {})
        arranged[section] = {**(dict(there) if isinstance(there, BaseModel) else cast(dict[str, Any], there)), **choices}
    return arranged


def flat_name(model: type[Section], location: tuple[int | str, ...]) -> str:
    """Return the name that a user would type for a location in the sections, e.g. of a fault that pydantic found."""
    parts = [str(part) for part in location]
    for choice in flat_fields(model).values():
        if choice.section and parts[:2] == [choice.section, choice.field]:
            return ".".join([choice.name, *parts[2:]])
    return ".".join(parts)
