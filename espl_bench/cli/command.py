"""A command of ours: its help is Typer's, and the paths that it is given are read as a shell's user means them."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, get_args

from typer.models import ArgumentInfo, OptionInfo

from espl_bench.cli import help_renderer
from espl_bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class PathNames:
    """The paths among a command's parameters."""

    options: frozenset[str] = frozenset()
    """Flags."""
    arguments: bool = False
    """Whether there is one without a flag."""

    @classmethod
    def of(cls, function: Callable[..., None]) -> "PathNames":
        """Read them from a function's signature, as Typer reads it."""
        infos = [info for parameter in inspect.signature(function).parameters.values() for info in _path_infos(parameter.annotation)]
        names = [name for info in infos if isinstance(info, OptionInfo) for name in (info.default, *(info.param_decls or ()))]
        flags = frozenset(name for name in names if isinstance(name, str))  # in Annotated, Typer takes the first name for a default
        return cls(flags, any(isinstance(info, ArgumentInfo) for info in infos))


def kinds_of(function: Callable[..., None]) -> dict[str, type]:
    """Return the type of each parameter's value, or of each value of a list, by name, from a function's signature."""
    annotated = {name: get_args(parameter.annotation)[:1] for name, parameter in inspect.signature(function).parameters.items()}
    return {name: kind for name, annotations in annotated.items() for annotation in annotations for kind in _members(annotation)}


def _members(annotation: Any) -> Iterator[type]:
    """Yield the types among those that an annotation is made of, without None and lists."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield from () if annotation is NoneType else (annotation,)
    for part in get_args(annotation):
        yield from _members(part)


def _path_infos(annotation: Any) -> Sequence[Any]:
    """Return Typer's description of a parameter that is a path, or may be one, or several."""
    kind, *infos = get_args(annotation) or (None,)
    return infos if Path in (kind, *get_args(kind)) or any(Path in get_args(part) for part in get_args(kind)) else ()


class Command(help_renderer.Command):
    """Command that refuses an empty path, which would else mean the current folder."""

    paths = PathNames()
    kinds: Mapping[str, type] = MappingProxyType({})
    """Type of each parameter's values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raises UsageError for an empty path."""
        if ctx.resilient_parsing:  # a shell completes what is not typed to its end
            return super().parse_args(ctx, args)
        for name in _empty(args, self.paths.options):
            raise UsageError(f"{name} is empty; name a path, or leave it out")
        if "" in args and self.paths.arguments:
            raise UsageError("a path is empty; name one")
        return super().parse_args(ctx, args)


def _empty(args: Sequence[str], options: frozenset[str]) -> Iterator[str]:
    for index, arg in enumerate(args):
        name, joined, value = arg.partition("=")
        if name in options and not value and (joined or list(args[index + 1 : index + 2]) == [""]):
            yield name


def at_home(function: Callable[..., None]) -> Callable[..., None]:
    """Let paths begin with ``~``, which a shell leaves as it is in ``--out=~/runs``."""

    @functools.wraps(function)
    def call(**given: Any) -> None:
        return function(**{name: _expanded(value) for name, value in given.items()})

    return call


def _expanded(value: Any) -> Any:
    if isinstance(value, Path):
        return value.expanduser()
    return [_expanded(item) for item in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]
