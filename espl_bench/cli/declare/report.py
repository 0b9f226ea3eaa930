"""The command line of what is looked at: `plot`, `report` and `view`. What they do stands in commands/, imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.group import AsJson, Quiet

Paths = Annotated[list[Path], typer.Argument(metavar="RUN|DIR…", help="Runs, summary files, or folders of runs.", show_default=False)]
Title = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="What the page is called. Default: the folder's name.")]


def plot(
    paths: Paths,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the pictures.")] = Path("plots"),
    kinds: Annotated[
        str | None,
        typer.Option(
            "--kinds",
            metavar="A,B,…",
            help="Some of: curves, bars, tree, ratings, prompts, outcomes, mismatch. Default: all that there are data for.",
        ),
    ] = None,
    axis: Annotated[
        str, typer.Option("--x", metavar="WHAT", help="Of curves: iterations, rollouts, tokens, train_tokens or seconds.")
    ] = "iterations",
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Of curves: validation or test.")] = "validation",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw pictures of runs, each as PNG and SVG. Needs the extra [report]."""
    from espl_bench.cli.commands import plot as command

    command.draw(paths, out, command.choose_kinds(kinds), command.choose_axis(axis), command.choose_split(split), quiet, as_json)


def report(
    paths: Paths,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page.")] = Path("report.html"),
    max_mib: Annotated[
        float, typer.Option("--max-mib", metavar="N", min=1, help="Size of the page; beyond it, a share of the rollouts is kept.")
    ] = 25.0,
    title: Title = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write runs into one HTML page to look around in: tables, curves, trees, rollouts, run cards. It needs no network."""
    from espl_bench.cli.commands import report as command

    command.write_report(paths, out, max_mib, title, quiet, as_json)


def view(
    paths: Paths,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Of 127.0.0.1. Default: any free one.", show_default=False)
    ] = 0,
    title: Title = None,
) -> None:
    """Serve the same page on this machine and follow runs that are going. Ctrl-C ends it; runs are not touched."""
    from espl_bench.cli.commands import report as command

    command.serve(paths, port, title)
