"""Declarations of `plot`, `report` and `view`. `cli/commands` implements them and is imported when one runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.shared_options import AsJson, Quiet

Paths = Annotated[list[Path], typer.Argument(metavar="RUN|DIR…", help="Runs, summary files, or folders of runs.", show_default=False)]
Title = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Title of the page. Default: the folder's name.")]


def plot(
    paths: Paths,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the pictures.")] = Path("plots"),
    kinds: Annotated[
        str | None,
        typer.Option(
            "--kinds",
            metavar="A,B,…",
            help="Pictures to draw: curves, bars, tree, ratings, prompts, outcomes, mismatch, measures. Default: all that have data.",
        ),
    ] = None,
    axis: Annotated[
        str, typer.Option("--x", metavar="WHAT", help="Axis of curves: iterations, rollouts, tokens, train_tokens or seconds.")
    ] = "iterations",
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Split of curves: validation or test.")] = "validation",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    r"""Draw pictures of runs, each as PNG and SVG. Needs the extra \[report]."""
    from espl_bench.cli.commands import plot as command

    command.draw(paths, out, command.choose_kinds(kinds), command.choose_axis(axis), command.choose_split(split), quiet, as_json)


def report(
    paths: Paths,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write.")] = Path("report.html"),
    max_mib: Annotated[
        float,
        typer.Option(
            "--max-mib",
            metavar="N",
            min=1,
            help="Largest size of the page in MiB; if it is too small, an even share of the rollouts is kept.",
        ),
    ] = 25.0,
    title: Title = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write runs into one HTML page to explore offline: tables, curves, trees, rollouts, run cards."""
    from espl_bench.cli.commands import report as command

    command.write_report(paths, out, max_mib, title, quiet, as_json)


def view(
    paths: Paths,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port on 127.0.0.1. Default: any free one.", show_default=False)
    ] = 0,
    title: Title = None,
) -> None:
    """Serve the same page on this machine and follow active runs. Ctrl-C stops it; runs are not changed."""
    from espl_bench.cli.commands import report as command

    command.serve(paths, port, title)
