"""What a configuration is: the choices of a run that can change its result, without the seed.

Runs of one method whose choices are equal are seeds of one configuration, and share a row of every table; runs whose choices differ do
not. Which options count is a mark beside each option (`Flag.affects` in sections.py): an option that cannot change what a method does,
such as the learning rate of a method that freezes weights, is not among that method's choices.

Method, control, environment, model and seed are not choices: they have places of their own in a table.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from pathlib import PurePath
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from espl_bench.config.flag import Affects, flag_metadata
from espl_bench.config.flat import FlatField, flat_fields, former_names
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig, model_name
from espl_bench.config.sections import MethodChoices
from espl_bench.errors import EsplError, OptionError
from espl_bench.method import Method

Choices = Mapping[str, Any]
"""Values by flat name, as JSON has them; fields of the method have their own names."""

_NAMES = ("name", "summary")
"""Fields of a method that name it."""
_ROW = ("control", "label")
"""Options that are part of a row's name."""
LONGEST = 24
"""Characters of a value in a label."""
_ABSENT = "(absent)"


def choices_of(config: RunConfig) -> dict[str, Any]:
    """Return the choices that can change the result of a run, by flat name. Folders are reduced to their names."""
    method = config.method
    own = {field.name: getattr(method, field.name) for field in fields(method) if field.name not in _NAMES}
    flat = {name: value for name, value in config.flat().items() if not _options()[name].flag.axis and name not in _ROW}
    given = without_folders(to_jsonable_python({**own, **flat}))
    return {name: value for name, value in given.items() if matters(name, given)}


def what_matters(config: RunConfig) -> dict[str, Any]:
    """Return everything about a run but options that have no effect on its method: its choices, and how it is carried out."""
    own = choices_of(config)
    every = {**vars(config.method), **config.flat()}
    return {name: value for name, value in every.items() if name in own or affects(name) is Affects.NOTHING}


def choices_in(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the choices of a stored configuration of any version; None if this version cannot read it."""
    try:
        return choices_of(RunConfig.model_validate(record))
    except (ValidationError, OptionError):
        return None


def completed(choices: Choices) -> dict[str, Any]:
    """Return stored choices with today's names, and options that are newer than the run at their defaults, which it had."""
    present = {former_names(RunConfig).get(name, name): value for name, value in choices.items()}
    absent = {name: value for name, value in _defaults().items() if name not in present and matters(name, present)}
    return {**present, **absent}


def default_choices(method: str, env: str, preset: str | None = None, also: Iterable[str] = ()) -> dict[str, Any]:
    """Return the choices of a method without any option but a preset: the environment's, where it is installed, and the method's own.

    Args:
        method: name.
        env: name.
        preset: name; None: no preset.
        also: options to return that change no result.
    """
    try:
        config = resolve(method, env, {"model": "any", "engine": "hf"}, preset)
    except EsplError:  # neither is needed to tabulate its runs
        return dict(_defaults())
    flat = config.flat()
    return {**choices_of(config), **{name: flat[name] for name in also}}


def matters(name: str, choices: Choices) -> bool:
    """Return whether an option can change the result of the method with these choices. An unknown one can."""
    weights, words = bool(choices.get("learns_weights")), bool(choices.get("operators") or choices.get("optimizer"))
    match affects(name):
        case Affects.RESULT:
            return True
        case Affects.LEARNING:
            return weights or words
        case Affects.WEIGHTS:
            return weights
        case Affects.WORDS:
            return words
        case Affects.NOTHING:
            return False


def affects(name: str) -> Affects:
    """Return what an option or a field of a method can change."""
    if name in MethodChoices.model_fields:
        return flag_metadata(MethodChoices.model_fields[name]).affects or MethodChoices.affects
    return _options()[name].affects if name in _options() else Affects.RESULT


def differing(several: Iterable[Choices]) -> tuple[str, ...]:
    """Return the names whose values are not the same in all, in the order of the options."""
    listed = list(several)
    names = dict.fromkeys(name for choices in listed for name in choices)
    return tuple(sorted((name for name in names if len({_key(choices.get(name, _ABSENT)) for choices in listed}) > 1), key=_order))


def telling_apart(several: Sequence[Choices], names: Sequence[str], most: int) -> tuple[str, ...]:
    """Choose the names that a label shows: all of them, or if they are more than `most`, enough to tell the choices apart."""
    if len(names) <= most:
        return tuple(names)
    chosen: list[str] = []
    while len(_kinds(several, chosen)) < len(_kinds(several, names)):
        rest = [name for name in names if name not in chosen]
        chosen.append(max(rest, key=lambda name: len(_kinds(several, [*chosen, name]))))
    return tuple(name for name in names if name in chosen)


def same(a: Choices, b: Choices) -> bool:
    """Return whether two configurations are one."""
    return not differing([a, b])


def unlike(old: RunConfig, new: RunConfig) -> list[str]:
    """List what makes two runs other than seeds of one configuration, as ``lr 0.001 -> 1e-05``; empty if they are."""
    before, after = ({**_identity(config), **choices_of(config)} for config in (old, new))
    return changes(before, after)


def _identity(config: RunConfig) -> dict[str, Any]:
    """Return where a run stands in a table, besides its choices."""
    options = {f"env option {name}": value for name, value in config.env_options.items()}
    return {"method": config.method.name, "env": config.env, **options, "model": model_name(config.model), "label": config.label}


def changes(old: Choices, new: Choices) -> list[str]:
    """List what differs between two configurations, as ``lr 0.001 -> 1e-05``."""
    return [f"{name} {written(old.get(name))} -> {written(new.get(name))}" for name in differing([old, new])]


def written(value: Any) -> str:
    """Format a value for a label. A long one is a hash, which is equal for equal values only."""
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}" if float(f"{value:g}") == value else repr(value)
        case int() | str():
            text = str(value)
        case _:
            text = "+".join(map(str, cast(Iterable[object], value))) or "none"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 8]}…{hashlib.sha256(_key(value).encode()).hexdigest()[:6]}"


def frozen(choices: Choices) -> str:
    """Return a key that is equal for equal choices."""
    return _key(dict(sorted(choices.items())))


def without_folders(value: Any) -> Any:
    """Return the same JSON value with every absolute path reduced to the name of its file or folder."""
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [without_folders(item) for item in cast(list[Any], value)]
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


@cache
def _options() -> Mapping[str, FlatField]:
    return flat_fields(RunConfig)


@cache
def _defaults() -> Mapping[str, Any]:
    own = {field.name: field.default for field in fields(Method) if field.name not in _NAMES and field.default is not MISSING}
    listed = {name: option for name, option in _options().items() if not option.flag.axis and name not in _ROW}
    return to_jsonable_python({**own, **{name: option.info.get_default(call_default_factory=True) for name, option in listed.items()}})


def _order(name: str) -> tuple[int, str]:
    names = [*_options(), *MethodChoices.model_fields]
    return names.index(name) if name in names else len(names), name


def _kinds(several: Sequence[Choices], names: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(_key(choices.get(name, _ABSENT)) for name in names) for choices in several}


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
