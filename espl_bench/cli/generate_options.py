"""Write options_table.py from the configuration: `python -m espl_bench.cli.generate_options`. A test checks that it is up to date."""

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from espl_bench import registry
from espl_bench.cli.run_option import RunOption
from espl_bench.config.flag import Flag, flag_metadata
from espl_bench.config.flat import flat_fields
from espl_bench.config.run_config import RunConfig
from espl_bench.config.sections import PANELS, MethodChoices
from espl_bench.method import Method

TABLE = Path(__file__).with_name("options_table.py")
_SEAMS = {seam: name for name, seam in vars(registry).items() if isinstance(seam, registry.Seam)}
_HEAD = '''\
"""The options of a run. Written by `python -m espl_bench.cli.generate_options` from espl_bench/config; edit the fields there."""

# ruff: noqa: E501
# fmt: off
from espl_bench import registry
from espl_bench.cli.run_option import RunOption

RUN_OPTIONS: tuple[RunOption, ...] = (
'''


def options() -> list[RunOption]:
    """Return every option that sets one field, in the order of the help."""
    return sorted([*_of_method(), *_of_run()], key=lambda option: PANELS.index(option.panel))


def _of_run() -> Iterator[RunOption]:
    for name, choice in flat_fields(RunConfig).items():
        if choice.flag.typed:
            yield _option(name, choice.info, choice.info.annotation, choice.panel)


def _of_method() -> Iterator[RunOption]:
    types = get_type_hints(Method)
    for name, info in MethodChoices.model_fields.items():
        yield _option(name, info, types[name], flag_metadata(info).panel or MethodChoices.panel)


def _option(name: str, info: FieldInfo, annotation: Any, panel: str) -> RunOption:
    flag = flag_metadata(info)
    value = _without_none(annotation)
    choices = _choices(value)
    kind = str if choices else value
    assert kind in (str, int, float, bool), f"{name} has no plain type; declare it with Flag(typed=False)"
    return RunOption(name, kind, panel, _help(info, flag, choices), _default(info, flag), choices, flag.seam, flag.formerly, flag.word)


def _without_none(annotation: Any) -> Any:
    """Strip None from an optional type."""
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return kinds[0] if NoneType in get_args(annotation) and len(kinds) == 1 else annotation


def _choices(kind: Any) -> tuple[str, ...]:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(str(member.value) for member in kind)
    return get_args(kind) if get_origin(kind) is Literal else ()


def _help(info: FieldInfo, flag: Flag, choices: tuple[str, ...]) -> str:
    text = " ".join((info.description or "").split())
    assert text.endswith("."), f"no docstring, or no sentence: {text!r}"
    return text if flag.lists_choices or not choices else f"{text} Choices: {', '.join(choices)}."


def _default(info: FieldInfo, flag: Flag) -> str:
    """Format the default; an environment's and a preset's values take precedence over it."""
    if flag.default:
        return flag.default
    value = info.default
    assert value is not None, "a None says nothing; declare what it means with Flag(default=...)"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def table() -> str:
    """Return the text of options_table.py."""
    rows = [f"    RunOption({', '.join(_arguments(option))}),\n" for option in options()]
    return _HEAD + "".join(rows) + ")\n"


def _arguments(option: RunOption) -> Iterator[str]:
    yield from (repr(option.field), option.kind.__name__, repr(option.panel), repr(option.help), repr(option.default))
    if option.choices:
        yield f"choices={option.choices!r}"
    if option.seam:
        yield f"seam=registry.{_SEAMS[option.seam]}"
    if option.formerly:
        yield f"formerly={option.formerly!r}"
    if option.word:
        yield f"word={option.word!r}"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
    sys.stdout.write(f"{TABLE}\n")
