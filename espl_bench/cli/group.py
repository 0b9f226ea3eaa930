"""Shared by all command groups: how they are declared, and the suggestion for an unknown command.

A command's options are made when it is run or its own help is asked for: `espl-bench --help` lists the commands without their 340
options, most of which are `run`'s and `compare`'s.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import typer
from typer.core import TyperCommand
from typer.main import get_command_from_info
from typer.models import CommandInfo

from espl_bench.cli.command import Command, PathNames, at_home, kinds_of
from espl_bench.cli.help_renderer import Group
from espl_bench.errors import unknown

Function = TypeVar("Function", bound=Callable[..., None])
Finish = Callable[[Callable[..., None]], tuple[Callable[..., None], type[TyperCommand]]]
"""What makes of a declared function the one that Typer reads the options of, with the command's class."""

MARKUP: Literal["rich"] = "rich"


class Outline(TyperCommand):
    """What a list of commands shows of one: name, help, whether it is hidden. It has no options."""

    def __init__(self, complete: Callable[[], Any], **settings: Any) -> None:
        """Take what makes the command with its options, and the settings of `TyperCommand`."""
        super().__init__(**settings)
        self.complete = complete


class Commands(Group):
    """Command group that suggests the nearest name for an unknown command."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the named command, with its options. Raises UsageError for an unknown name."""
        if args and args[0] not in self.commands and not ctx.resilient_parsing:
            raise unknown("command", args[0], [name for name, command in self.commands.items() if not command.hidden])
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.complete() if isinstance(command, Outline) else command, rest


class CommandGroup(typer.Typer):
    """Declares a group of commands."""

    def __init__(self, add_completion: bool = False, **settings: Any) -> None:
        """Take the same settings as `typer.Typer`; a shell is completed by the outermost group alone."""
        super().__init__(cls=Commands, add_completion=add_completion, rich_markup_mode=MARKUP, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
        """Declare a command, as `typer.Typer.command` does."""
        return self._declare(name, settings, lambda function: (function, Command))

    def run_command(self) -> Callable[[Function], Function]:
        """Declare a command that gets every option of a run as one `Chosen` in its parameter `chosen`."""
        return self._declare(None, {}, _with_run_options)

    def _declare(self, name: str | None, settings: Mapping[str, Any], finish: Finish) -> Callable[[Function], Function]:
        def declare(function: Function) -> Function:
            def complete() -> Any:
                callback, kind = finish(function)
                info = CommandInfo(name, cls=kind, callback=at_home(callback), **settings)
                command: Any = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=MARKUP)
                command.paths, command.kinds = PathNames.of(callback), kinds_of(callback)
                return command

            def outline() -> None:
                raise NotImplementedError("an outline is not run")

            outline.__name__, outline.__doc__ = function.__name__, function.__doc__
            kind: Any = functools.partial(Outline, complete)  # called as a class is
            super(CommandGroup, self).command(name, cls=kind, **settings)(outline)
            return function

        return declare


def _with_run_options(function: Callable[..., None]) -> tuple[Callable[..., None], type[TyperCommand]]:
    from espl_bench.cli.options import takes_run_options  # not needed for the list of commands
    from espl_bench.cli.run_options_command import RunOptionsCommand

    return takes_run_options(function), RunOptionsCommand
