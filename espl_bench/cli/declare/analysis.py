"""The commands that ask what finished runs say beyond their table: what can be typed. What they do stands in commands/."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.group import AsJson, Quiet


def plan(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATHS…", help="Runs, or folders of runs, that show the noise. Default: results/.", show_default=False),
    ] = None,
    env: Annotated[str, typer.Option("--env", metavar="NAME", help="Environment of the runs.")] = "rulebook",
    detect: Annotated[str, typer.Option("--detect", metavar="GAP", help="Gap to separate, in percentage points.")] = "3pp",
    methods: Annotated[
        str | None, typer.Option("--methods", metavar="A,B", help="The two methods. Default: the two best.", show_default=False)
    ] = None,
    items: Annotated[
        int | None,
        typer.Option("--items", metavar="N", min=2, help="Test items. Default: as many as the runs met, and half.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How many seeds, items and samples would separate a gap between two methods, and what they would cost."""
    from espl_bench.cli.commands import plan as command
    from espl_bench.cli.commands.table import choose_paths

    command.print_plan(choose_paths(paths, False), env, command.parse_gap(detect), methods, items, as_json)


def attribute(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="A finished run, or several seeds of one method.", show_default=False)],
    other: Annotated[
        list[Path] | None,
        typer.Option(
            "--other", metavar="RUN", help="Run whose evolved prompt is tried, too. Default: another seed beside it.", show_default=False
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FOLDER", help="Where the runs' model lies now. Default: where it lay.", show_default=False),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """How much of a gain is in the words and how much in the weights: {base, trained weights} x {root, evolved prompt} on the test.

    Every cell is kept in the run directory, so a second call goes on where the first was stopped.
    """
    from espl_bench.cli.commands import attribute as command

    command.attribute(runs, other or [], model, quiet, as_json)


def quotes(run: Annotated[Path, typer.Argument(metavar="RUN")], as_json: AsJson = False) -> None:
    """Which principles of a run quote training, validation or test items."""
    from espl_bench.cli.commands import quotes as command

    raise typer.Exit(command.print_quotes(run, as_json))
