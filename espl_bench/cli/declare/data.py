"""Declaration of the `data` commands. `cli/commands/data.py` implements them and is imported when one runs."""

from typing import Annotated

import typer

from espl_bench.cli.group import CommandGroup
from espl_bench.cli.shared_options import AsJson, EnvOptions, OwnFiles

data_app = CommandGroup(no_args_is_help=True)

Env = Annotated[str, typer.Argument(metavar="ENV", help="Environment; listed by [bold]envs[/].", show_default=False)]
Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="One of several data sets; listed by [bold]data status[/].")]

SkipBadRows = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Drop and count rows without a usable problem or answer, instead of refusing the set.")
]
AllowConflicts = Annotated[
    bool,
    typer.Option("--allow-conflicts", help="Let the last of several answers to a problem count, instead of refusing the set."),
]


@data_app.callback()
def data() -> None:
    """List, fetch, import and check the environments' data sets.

    They are stored in the folder named by ESPL_BENCH_DATA, or in the platform's user data folder.
    """


@data_app.command()
def status(as_json: AsJson = False) -> None:
    """List the data sets that the environments need, and how to get those that are missing."""
    from espl_bench.cli.commands import data as command

    command.show_status(as_json)


@data_app.command()
def get(
    env: Env,
    source: Source = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="COMMIT", help="Commit to fetch instead of the recorded one; main for the newest.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also fetch data sets that are already stored.")] = False,
    skip_bad_rows: SkipBadRows = False,
    allow_conflicts: AllowConflicts = False,
    as_json: AsJson = False,
) -> None:
    """Fetch an environment's data sets from the hub."""
    from espl_bench.cli.commands import data as command
    from espl_bench.data.intake import IntakeRules

    command.get(env, source, revision, again, IntakeRules(skip_bad_rows=skip_bad_rows, allow_conflicts=allow_conflicts), as_json)


@data_app.command("import")
def import_(
    env: Env,
    files: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="FILE",
            help="A file (JSON Lines, JSON, CSV, TSV, Parquet or Arrow; .gz and .zst are unpacked), a pattern, or a folder of shards; "
            "may be repeated.",
            show_default=False,
        ),
    ],
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="train, validation, test or corpus.", show_default=False)],
    source: Source = None,
    problem_column: Annotated[
        str | None, typer.Option("--problem-column", metavar="NAME", help="Column of the problems, if it is not obvious; a.b for b in a.")
    ] = None,
    answer_column: Annotated[str | None, typer.Option("--answer-column", metavar="NAME", help="Column of the answers.")] = None,
    skip_bad_rows: SkipBadRows = False,
    allow_conflicts: AllowConflicts = False,
    as_json: AsJson = False,
) -> None:
    """Import a data set from files, for example on a machine without a network."""
    from espl_bench.cli.commands import data as command
    from espl_bench.data.intake import IntakeRules

    rules = IntakeRules(skip_bad_rows=skip_bad_rows, allow_conflicts=allow_conflicts)
    command.import_files(env, files, split, source, problem_column, answer_column, rules, as_json)


@data_app.command()
def check(
    env: Env,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", metavar="ENV", help="Also look for its problems in the data sets of this environment; may be repeated."),
    ] = None,
    data: OwnFiles = None,
    env_option: EnvOptions = None,
    as_json: AsJson = False,
) -> None:
    """Check the data of an environment: counts, repetitions, identity, rejected answers, overlaps between splits, licences."""
    from espl_bench.cli.commands import data as command

    command.check(env, tuple(against or ()), tuple(data or ()), tuple(env_option or ()), as_json)
