"""Declaration of the `model` commands. `cli/commands/model.py` implements them and is imported when one runs."""

from typing import Annotated

import typer

from espl_bench.cli.group import CommandGroup
from espl_bench.cli.shared_options import AsJson

model_app = CommandGroup(no_args_is_help=True)


@model_app.callback()
def model() -> None:
    """List and get the models that have a name of their own and need no hub."""


@model_app.command()
def status(as_json: AsJson = False) -> None:
    """List them: which are on this machine, and how to get the others."""
    from espl_bench.cli.commands import model as command

    command.show_status(as_json)


@model_app.command()
def get(name: Annotated[str, typer.Argument(metavar="NAME", help="For example smollm2.", show_default=False)]) -> None:
    """Bring a model to this machine, for --model NAME."""
    from espl_bench.cli.commands import model as command

    command.get(name)
