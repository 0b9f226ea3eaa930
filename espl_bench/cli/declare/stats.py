"""Declaration of `stats`. `cli/commands/stats.py` implements it."""

from typing import Annotated

import typer


def stats(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE…",
            help="Scores, one row per sample (CSV, TSV, JSON Lines, Parquet), or logs: samples of lm-evaluation-harness, .eval or .json of "
            "inspect, traces of verifiers; or folders of logs. NAME=FILE names the row, NAME@SEED=FILE the run too.",
            show_default=False,
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="NAME", help="Method to compare with. Default: base, or the first by name."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Which score, if a file has several; repeated, the first that a file has."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="ROLE=NAME",
            help="Column of a table, if it is not obvious: score, item, method, seed, sample or test; may be repeated.",
        ),
    ] = None,
    shared_items: Annotated[
        bool, typer.Option("--shared-items", help="Compare on the items that every run has, instead of refusing runs with other items.")
    ] = False,
    detect: Annotated[
        str | None,
        typer.Option("--detect", metavar="GAP", help="Also print what would separate this gap, e.g. 3pp."),
    ] = None,
    wanted: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="screen, markdown, latex, html, csv or json. Default: screen.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Compare scores from anywhere: paired intervals, ranks corrected for all pairs, and what the scores can separate.

    No run of ours is needed. Methods are compared on the same items, and on the same seeds where files name them.
    """
    from espl_bench.cli.commands import stats as command
    from espl_bench.cli.commands.table import choose_format

    form = command.Wanted(choose_format(wanted, as_json, markdown), against, detect, shared_items)
    command.print_stats(files, metric or (), column or (), form)
