"""The kind of command group that names the nearest command for one that does not exist."""

from typing import Any

from typer.core import TyperGroup

from espl_bench.errors import unknown


class Commands(TyperGroup):
    """Used by every group of the command line."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base class; raises UsageError."""
        if args and args[0] not in self.commands:
            raise unknown("command", args[0], self.commands)
        return super().resolve_command(ctx, args)
