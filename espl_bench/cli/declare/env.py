"""Declaration of the `env` commands. `cli/commands/env.py` implements them and is imported when one runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.group import CommandGroup
from espl_bench.cli.shared_options import AsJson, EnvOptions, OwnFiles, Quiet

env_app = CommandGroup(no_args_is_help=True)


@env_app.callback()
def env() -> None:
    """Check an environment, or begin one of your own."""


@env_app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Environment; listed by [bold]envs[/].", show_default=False)],
    env_option: EnvOptions = None,
    data: OwnFiles = None,
    samples: Annotated[int, typer.Option("--samples", metavar="N", min=1, help="Items of each split on which the grader is tried.")] = 16,
    items: Annotated[
        int, typer.Option("--items", metavar="N", min=1, help="Items of each split that are read to find duplicates.")
    ] = 20_000,
    deadline: Annotated[
        float, typer.Option("--deadline", metavar="S", min=0.1, help="Seconds that one item, one grade or one instance may take.")
    ] = 60.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Check that an environment keeps the contract; exit code 1 if it does not.

    Gold responses earn 1; empty, garbled, over-long and injected ones earn 0. Items are the same every time and in every instance, and no
    item is in two splits. One line for each finding, with the remedy. It runs in a process of its own.
    """
    from espl_bench.cli.commands import env as command

    raise typer.Exit(command.check(name, tuple(env_option or ()), tuple(data or ()), samples, items, deadline, quiet, as_json))


@env_app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name for [bold]--env[/]: letters, digits, hyphens.", show_default=False)],
    kind: Annotated[
        str,
        typer.Option("--kind", metavar="NAME", help="single: one response; multi: several turns; tools: calls, then an answer."),
    ] = "single",
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write. Default: ./NAME.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Write a package with a working environment, to be made your own: code, wording, spec sheet and tests."""
    from espl_bench.cli.commands import env as command

    command.new(name, kind, out, as_json)
