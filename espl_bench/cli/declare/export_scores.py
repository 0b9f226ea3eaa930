"""Declaration of `export-scores`. `cli/commands/export_scores.py` implements it."""

from pathlib import Path
from typing import Annotated

import typer


def export_scores(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run.", show_default=False)],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NAME",
            help="inspect: a log that inspect view opens; eval-results: an entry for .eval_results/ of a model on the hub.",
        ),
    ] = "inspect",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write. Default: standard output.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="ID", help="Of eval-results: the benchmark's id on the hub, if the test is no published set."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="ID", help="Of eval-results: the benchmark's task. Default: default.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="URL", help="Of eval-results: where readers find the run. Default: none.")
    ] = None,
) -> None:
    """Write the scores of a run's final test in formats of others: a log of inspect, or an entry for the hub."""
    from espl_bench.cli.commands import export_scores as command

    command.export(run, to, out, dataset, task, source)
