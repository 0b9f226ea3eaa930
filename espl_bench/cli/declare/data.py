"""The command line of `data`: what can be typed. What a command does stands in commands/data.py, which is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.group import AsJson, Commands

data_app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, rich_markup_mode="rich")

Env = Annotated[str, typer.Argument(metavar="ENV", help="See [bold]envs[/].", show_default=False)]
Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="One of several data sets; see [bold]data status[/].")]


@data_app.callback()
def data() -> None:
    """Data sets of the environments: what is there, get it, import it, check it.

    They lie in the folder that ESPL_BENCH_DATA names, or in the platform's folder for a user's data.
    """


@data_app.command()
def status(as_json: AsJson = False) -> None:
    """Which data sets the environments need, which are there, and how to get the others."""
    from espl_bench.cli.commands import data as command

    command.show_status(as_json)


@data_app.command()
def get(
    env: Env,
    source: Source = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="COMMIT", help="Another commit than the recorded one, or the newest: main.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what is there already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch an environment's data sets from the hub."""
    from espl_bench.cli.commands import data as command

    command.get(env, source, revision, again, as_json)


@data_app.command("import")
def import_(
    env: Env,
    file: Annotated[Path, typer.Option("--from", metavar="FILE", help="A .jsonl, .json, .csv or .parquet file.", show_default=False)],
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="train, validation or test.", show_default=False)],
    source: Source = None,
    problem_column: Annotated[
        str | None, typer.Option("--problem-column", metavar="NAME", help="Where the problems stand, if it is not obvious; a.b for b in a.")
    ] = None,
    answer_column: Annotated[str | None, typer.Option("--answer-column", metavar="NAME", help="Where the answers stand.")] = None,
    as_json: AsJson = False,
) -> None:
    """Import a data set from a file, on a machine without a network for instance."""
    from espl_bench.cli.commands import data as command

    command.import_file(env, file, split, source, problem_column, answer_column, as_json)


@data_app.command()
def check(
    env: Env,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="ENV", help="Also look for its problems in the sets of this environment; may be repeated."),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="SPLIT=FILE", help="A file of your own, for [bold]jsonl[/]; may be repeated.")
    ] = None,
    env_option: Annotated[
        list[str] | None, typer.Option("--env-option", metavar="KEY=VALUE", help="Option of the environment; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Counts, repetitions, identity, answers the grader does not accept, problems that splits share, licences."""
    from espl_bench.cli.commands import data as command

    command.check(env, tuple(against or ()), tuple(data or ()), tuple(env_option or ()), as_json)
