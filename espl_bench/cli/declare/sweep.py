"""The command line of `sweep`: what can be typed. What a command does stands in commands/sweep.py, which is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.group import AsJson, Commands, Quiet

sweep_app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, rich_markup_mode="rich")

WHERE = "Where it runs"
Out = Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's folder or URL.", show_default=False)]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="A running Ray cluster: HOST:PORT, or auto. Default: Ray on this machine.",
        rich_help_panel=WHERE,
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        help="Without Ray, N cells at a time on this machine. Default where Ray is not installed: 1.",
        rich_help_panel=WHERE,
        min=1,
        show_default=False,
    ),
]
Growing = Annotated[
    bool,
    typer.Option("--growing", help="The cluster may still get nodes: cells that fit none wait for one.", rich_help_panel=WHERE),
]


@sweep_app.callback()
def sweep() -> None:
    """Grids of runs, on this machine or on a Ray cluster: methods x environments x models x seeds from one TOML file."""


@sweep_app.command()
def run(
    grid: Annotated[Path, typer.Argument(metavar="GRID.toml", help="See docs/sweeps.md.", show_default=False)],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="PLACE",
            help="Folder that all nodes share, or a URL that fsspec knows. Default: the grid's out.",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    address: Address = None,
    jobs: Jobs = None,
    growing: Growing = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells, and stop.", rich_help_panel="Output")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run every cell of a grid, and print the table.

    Finished cells in the place are kept and unfinished ones resumed, so the same command goes on after a stop.
    Ctrl-C lets the cells that run save; a second one ends them at once.
    """
    from espl_bench.cli.commands import sweep as command

    if dry_run:
        command.list_cells(grid, as_json)
    else:
        raise typer.Exit(command.run(grid, out, command.Means(address, jobs, growing), quiet, as_json))


@sweep_app.command()
def resume(
    place: Out,
    address: Address = None,
    jobs: Jobs = None,
    growing: Growing = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a sweep that was stopped, and try its failed cells again."""
    from espl_bench.cli.commands import sweep as command

    raise typer.Exit(command.resume(place, command.Means(address, jobs, growing), quiet, as_json))


@sweep_app.command()
def status(place: Out, as_json: AsJson = False) -> None:
    """How far each cell is, where it ran, and why it failed; also while the sweep goes on elsewhere."""
    from espl_bench.cli.commands import sweep as command

    command.show_status(place, as_json)
