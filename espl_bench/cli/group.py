"""What the groups of commands share: a nearest name for a command that does not exist, and the options that most commands have."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from espl_bench.errors import unknown

Quiet = Annotated[bool, typer.Option("--quiet", help="Only the result, no progress.", rich_help_panel="Output")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.", rich_help_panel="Output")]


class Commands(TyperGroup):
    """Used by every group of the command line."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base class; raises UsageError."""
        if args and args[0] not in self.commands:
            raise unknown("command", args[0], self.commands)
        return super().resolve_command(ctx, args)
