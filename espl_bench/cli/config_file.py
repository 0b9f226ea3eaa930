"""`run --config FILE.toml`: options of a run from a file. What is typed beside it goes before.

    method = "espl"
    steps = 40
    lr = 1e-5
    principle = ["Answer briefly."]   # a list for an option that may be repeated

    [env_option]                      # a table for options of the form KEY=VALUE: env_option and data
    world = 3

A key is an option's name as on the command line, without the dashes in front; others are refused. Paths are as on the command line too:
relative to the current folder. The file becomes command-line arguments, so that every value is checked by the same rules in either place.

A file may not choose where secrets go: an endpoint, or a variable with a key, that only the file names is confirmed by the user, as in a
grid (`runs/consent.py`).
"""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from espl_bench.cli.options_table import RUN_OPTIONS
from espl_bench.errors import UsageError, did_you_mean

CONFIG: Final = "config"
"""The parameter that names the file."""
META: Final = "espl_bench.config_file"
"""Where a context keeps what was read."""
TYPED_ONLY: Final = frozenset({CONFIG, "help", "dry_run", "quiet", "json", "contact", "send_key"})
"""What is said on the command line alone: what the user confirms, and what is printed."""
TABLES: Final = frozenset({"env_option", "data"})
"""Options of the form KEY=VALUE."""
JOINED: Final = frozenset({"methods", "seed_list", "track"})
"""Options that take several values with commas between."""
ALTERNATIVES: Final = (frozenset({"principle", "root_prompt", "root_blocks"}), frozenset({"seeds", "seed_list"}))
"""Options that exclude each other: one that is typed goes before all of them in the file."""
KINDS: Final[Mapping[type, tuple[tuple[type, ...], str]]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
}
"""Types of TOML that an option takes, by the type of its values; one of another type takes a text."""

_WORDS: Final[Mapping[str, str]] = {option.field: option.word for option in RUN_OPTIONS if option.word}


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of options, and what was typed beside it."""

    path: Path
    content: bytes
    arguments: tuple[str, ...]
    """What the file adds to the command line."""
    options: frozenset[str]
    """Parameters that the file names."""
    typed: frozenset[str]
    """Texts that were typed, among them addresses and names of variables that the user has chosen."""


@dataclass(frozen=True, slots=True)
class _Option:
    """An option as the file has it."""

    key: str
    """As written there."""
    name: str
    """Of the parameter."""
    param: Any
    kind: type
    """Of its values."""
    path: Path
    """The file, for messages."""


@dataclass(frozen=True, slots=True)
class TakenOptions:
    """The options that a command takes."""

    params: Sequence[Any]
    kinds: Mapping[str, type]
    """Types of the parameters' values, by name."""
    env_flags: frozenset[str]
    """Parameters that are options of the environment with a flag of their own: typed as KEY=VALUE, they go before the file too."""


def read_config_file(path: Path, taken: TakenOptions, typed: Mapping[str, Any]) -> ConfigFile:
    """Read a file of options.

    Args:
        path: the file.
        taken: the command's options.
        typed: what the command line gives, by parameter.

    Raises UsageError naming the file, and the option that is unknown or has a value of another kind.
    """
    content, values = _read(path)
    given = {name: value for name, value in typed.items() if value is not None and value != ()}
    pairs = [str(pair).partition("=") for name in TABLES for pair in given.get(name, ())]
    keys = frozenset(name for name, _, _ in pairs)
    replaced = (given.keys() | keys & taken.env_flags).union(*(group for group in ALTERNATIVES if group & given.keys()))
    arguments: list[str] = []
    met: dict[str, str] = {}
    options = _options(taken.params)
    for key, value in values.items():
        param = _param(key, options, path)
        option = _Option(key, param.name, param, taken.kinds.get(param.name, str), path)
        if other := met.get(option.name):
            raise UsageError(f"{path}: {key} and {other} are the same option; give one of them")
        met[option.name] = key
        written = list(_arguments(option, value, keys))
        if option.name in TABLES or option.name not in replaced:
            arguments += written
    chosen = (value for name, value in given.items() if name not in TYPED_ONLY)
    texts = frozenset([*_texts(chosen), *(value for _, _, value in pairs)])
    return ConfigFile(path, content, tuple(arguments), frozenset(met), texts)


def _read(path: Path) -> tuple[bytes, dict[str, Any]]:
    from espl_bench.utils.named_files import decoded, read_named  # not needed for --help

    try:
        content = read_named(path)
        return content, tomllib.loads(decoded(content))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); name a TOML file of options with --config") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML file ({error}); docs/run.toml is an example") from error


def _options(params: Sequence[Any]) -> dict[str, Any]:
    """Return the options by every name that they have in a file."""
    options = [param for param in params if param.param_type_name == "option"]
    return {_key(name): param for param in options for name in param.opts if name.startswith("--")}


def _key(name: str) -> str:
    return name.lstrip("-").replace("-", "_")


def _param(key: str, options: Mapping[str, Any], path: Path) -> Any:
    name = _key(key)
    if name in TYPED_ONLY:
        raise UsageError(f"{path}: {key} is said on the command line, not in a file; leave it out there")
    if name not in options:
        nearest = did_you_mean(name, sorted(options.keys() - TYPED_ONLY))
        raise UsageError(f"{path}: unknown option '{key}'; {nearest}its names are those of --help, without the dashes in front")
    return options[name]


def _arguments(option: _Option, value: object, typed_keys: frozenset[str]) -> Iterator[str]:
    """Write one entry of the file as it would be typed; of KEY=VALUE those whose KEY was not typed."""
    flag = option.param.opts[0]
    if option.name in TABLES:
        if not isinstance(value, Mapping):
            raise UsageError(f"{option.path}: {option.key} is a table, as in: [{option.key}] and a line NAME = VALUE for each")
        for name, each in cast(Mapping[str, Any], value).items():
            if "=" in name:
                raise UsageError(f"{option.path}: {option.key} has the name {name!r}; a name holds no =")
            text = _one(option, each) if option.name == "data" else _json(option, name, each)
            if name not in typed_keys:
                yield f"{flag}={name}={text}"
    elif isinstance(value, list) and option.param.multiple:
        yield from (f"{flag}={_one(option, each)}" for each in cast(list[object], value))
    elif isinstance(value, list) and option.name in JOINED:
        yield f"{flag}={','.join(str(each) for each in cast(list[object], value))}"
    elif option.param.multiple:
        raise UsageError(f'{option.path}: {option.key} takes a list, as in: {option.key} = ["…"]')
    elif value is False and option.kind is bool:
        yield from option.param.secondary_opts[:1]
    else:
        text = _one(option, cast(object, value))
        yield flag if option.kind is bool else f"{flag}={text}"


def _one(option: _Option, value: object) -> str:
    """Write a value, unless it is of another type than the option's: a number is not cut, and a text is not read as one."""
    word = _WORDS.get(option.name)
    if word is not None and value == word:
        return word
    kinds, told = KINDS.get(option.kind, ((str,), "a text"))
    if not isinstance(value, kinds) or (isinstance(value, bool) and option.kind is not bool):
        raise UsageError(f"{option.path}: {option.key} takes {told}{f' or {word!r}' if word else ''}, not {value!r}")
    return str(value)


def _json(option: _Option, name: str, value: object) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{option.path}: {option.key}.{name} takes a value that JSON has, not {value}") from error


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield from (value, *value.split(","))
        elif isinstance(value, list | tuple):
            yield from _texts(cast(Sequence[object], value))
