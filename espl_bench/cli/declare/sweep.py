"""Declaration of the `sweep` commands. `cli/commands/sweep.py` implements them and is imported when one runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.group import CommandGroup
from espl_bench.cli.shared_options import AsJson, ContactOption, NoDownload, Quiet, SendKeyOption

sweep_app = CommandGroup(no_args_is_help=True)

WHERE = "Where it runs"
Out = Annotated[str, typer.Argument(metavar="SWEEP", help="Folder or URL of the sweep.", show_default=False)]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Address of a running Ray cluster: HOST:PORT, or auto. Default: Ray on this machine.",
        rich_help_panel=WHERE,
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        help="Run N cells at a time on this machine, without Ray. Default if Ray is not installed: 1.",
        rich_help_panel=WHERE,
        min=1,
        show_default=False,
    ),
]
Growing = Annotated[
    bool,
    typer.Option("--growing", help="Let cells that fit no node wait for a new one, on a cluster that grows.", rich_help_panel=WHERE),
]


@sweep_app.callback()
def sweep() -> None:
    """Run grids from a TOML file: methods x environments x models x seeds, on this machine or on a Ray cluster."""


@sweep_app.command()
def run(
    grid: Annotated[Path, typer.Argument(metavar="GRID.toml", help="Grid to run; described in docs/sweeps.md.", show_default=False)],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="PLACE",
            help="Folder that all nodes share, or a URL that fsspec can open. Default: the grid's out.",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label", metavar="TEXT", help="Name of a variant, shown with the methods in tables. Default: the grid's.", show_default=False
        ),
    ] = None,
    address: Address = None,
    jobs: Jobs = None,
    growing: Growing = False,
    contact: ContactOption = None,
    send_key: SendKeyOption = None,
    no_download: NoDownload = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells without running them.", rich_help_panel="Output")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run every cell of a grid, and print the table.

    Data and models that are not here are fetched from the hub before the first cell starts, unless the cells run on another cluster.
    Finished cells are kept and unfinished ones are resumed. Repeat the command to continue after a stop.
    Ctrl-C lets running cells save first; a second one ends them at once.
    """
    from espl_bench.cli.commands import sweep as command

    if dry_run:
        command.list_cells(grid, label, as_json)
    else:
        means, provision = command.Means(address, jobs, growing), command.Provision(not no_download, quiet)
        raise typer.Exit(command.run(grid, out, label, means, quiet, as_json, command.Consent.of(contact, send_key), provision))


@sweep_app.command()
def resume(
    location: Out,
    address: Address = None,
    jobs: Jobs = None,
    growing: Growing = False,
    contact: ContactOption = None,
    send_key: SendKeyOption = None,
    no_download: NoDownload = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Resume a stopped sweep, and try its failed cells again."""
    from espl_bench.cli.commands import sweep as command

    means, provision = command.Means(address, jobs, growing), command.Provision(not no_download, quiet)
    raise typer.Exit(command.resume(location, means, quiet, as_json, command.Consent.of(contact, send_key), provision))


@sweep_app.command()
def status(location: Out, as_json: AsJson = False) -> None:
    """Show each cell's progress, where it ran and why it failed, also while the sweep runs elsewhere."""
    from espl_bench.cli.commands import sweep as command

    command.show_status(location, as_json)
