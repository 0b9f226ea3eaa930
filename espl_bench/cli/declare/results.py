"""The command line of `results`: what can be typed. What a command does stands in commands/results.py, which is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.group import AsJson, Commands, Quiet

results_app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, rich_markup_mode="rich")

Root = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of the published results.")]


@results_app.callback()
def results() -> None:
    """Published results: one small file per run, graded again before it gets in, and the tables made from all of them."""


@results_app.command()
def add(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run directories, or folders of them.", show_default=False)],
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Whose folder they go to. Default: the environment's.", show_default=False)
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a seed that is published already.")] = False,
    root: Root = Path("results"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Publish finished runs, after grading every stored rollout again.

    Refused are changed, damaged and unfinished runs, other data than the published runs met, a seed that is there already, and seeds of one
    method that were run with different configurations.
    """
    from espl_bench.cli.commands import results as command

    command.add(runs, study, replace, root, quiet, as_json)


@results_app.command("list")
def list_(root: Root = Path("results"), as_json: AsJson = False) -> None:
    """What is published."""
    from espl_bench.cli.commands import results as command

    command.show(root, as_json)


@results_app.command()
def check(
    root: Root = Path("results"),
    write: Annotated[bool, typer.Option("--write", help="Make generated files anew.")] = False,
    as_json: AsJson = False,
) -> None:
    """Whether every record is sound, belongs where it lies, and the generated files are what the records make."""
    from espl_bench.cli.commands import results as command

    raise typer.Exit(command.check(root, write, as_json))
