"""Shared by all command groups: how they are declared, the suggestion for an unknown command, and the options that most commands have."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from espl_bench.cli.help_renderer import Command, Group
from espl_bench.errors import unknown

Quiet = Annotated[bool, typer.Option("--quiet", help="Print only the result, no progress.", rich_help_panel="Output")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.", rich_help_panel="Output")]

ContactOption = Annotated[
    list[str] | None,
    typer.Option(
        "--contact",
        metavar="PLACE",
        help="Connect to this address, or tracker, although only a file names it; may be repeated.",
        show_default=False,
    ),
]
SendKeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--send-key",
        metavar="NAME",
        help="Send the key in this variable although only a file names it; may be repeated.",
        show_default=False,
    ),
]


class Commands(Group):
    """Command group that suggests the nearest name for an unknown command."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the named command. Raises UsageError for an unknown name."""
        if args and args[0] not in self.commands:
            raise unknown("command", args[0], [name for name, command in self.commands.items() if not command.hidden])
        return super().resolve_command(ctx, args)


class CommandGroup(typer.Typer):
    """Declares a group of commands."""

    def __init__(self, **settings: Any) -> None:
        """Take the same settings as `typer.Typer`."""
        super().__init__(cls=Commands, add_completion=False, rich_markup_mode="rich", **settings)

    def command(self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **settings: Any) -> Any:
        """Declare a command, as `typer.Typer.command` does."""
        return super().command(name, cls=cls or Command, **settings)
