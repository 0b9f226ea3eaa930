"""Declaration of the `results` commands. `cli/commands/results.py` implements them and is imported when one runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.group import CommandGroup
from espl_bench.cli.shared_options import AsJson, Quiet

results_app = CommandGroup(no_args_is_help=True)

Root = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of published results.")]


@results_app.callback()
def results() -> None:
    """Published results: one record per run, re-graded before it is accepted, and the tables made from them."""


@results_app.command()
def add(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run directories, or folders of them.", show_default=False)],
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="NAME", help="Study to add them to. Default: the environment's name.", show_default=False),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a seed that is already published.")] = False,
    root: Root = Path("results"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Publish finished runs, after re-grading every stored rollout.

    A run is refused if it is changed, damaged or unfinished, if its data differ from those of the published runs, if its seed is already
    published, or if other seeds of the method have another configuration.
    """
    from espl_bench.cli.commands import results as command

    command.add(runs, study, replace, root, quiet, as_json)


@results_app.command("list")
def list_(root: Root = Path("results"), as_json: AsJson = False) -> None:
    """List the published results."""
    from espl_bench.cli.commands import results as command

    command.show(root, as_json)


@results_app.command()
def check(
    root: Root = Path("results"),
    write: Annotated[bool, typer.Option("--write", help="Regenerate the generated files.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check that every record is valid and in the right folder, and that the generated files are up to date."""
    from espl_bench.cli.commands import results as command

    raise typer.Exit(command.check(root, write, as_json))
