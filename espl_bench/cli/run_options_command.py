"""The class of `run` and `compare`: a command whose options may stand in a file."""

import copy
from pathlib import Path
from typing import Any

from espl_bench.cli.command import Command
from espl_bench.cli.config_file import CONFIG, META, TakenOptions, read_config_file
from espl_bench.cli.options import RETRIEVAL


class RunOptionsCommand(Command):
    """A command with the options of a run, some of which a file may give. Its help shows an option by its present name alone.

    With the --no- forms in a column of their own, 80 columns would cut the longest names.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, after those of a file. Raises UsageError as `read_config_file`."""
        if not ctx.resilient_parsing and any(arg.startswith("--config") for arg in args):
            typed, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            if typed.get(CONFIG):
                taken = TakenOptions(self.params, self.kinds, frozenset(RETRIEVAL))
                file = read_config_file(Path(typed[CONFIG]).expanduser(), taken, typed)
                ctx.meta[META] = file
                args = [*file.arguments, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Format the help without former names."""
        shown = copy.copy(self)
        shown.params = [_by_one_name(param) for param in self.params]
        Command.format_help(shown, ctx, formatter)


def _by_one_name(param: Any) -> Any:
    shown = copy.copy(param)
    if param.param_type_name == "option":
        shown.opts, shown.secondary_opts = param.opts[:1], []
    return shown
