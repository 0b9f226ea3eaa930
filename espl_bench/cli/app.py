"""The command line: what can be typed, and how errors are told. What a command does stands in commands/.

Nothing heavy is imported here: a command imports its own module when it runs, so `espl-bench --help` answers at once.
An error that a user can mend is one line on stderr: exit code 2 for what was asked wrongly, 1 for what went wrong.
Any other exception is a bug and keeps its traceback.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from espl_bench import __version__
from espl_bench.cli.declare.analysis import attribute, plan, quotes
from espl_bench.cli.declare.data import data_app
from espl_bench.cli.declare.grade import grade
from espl_bench.cli.declare.report import plot, report, view
from espl_bench.cli.declare.results import results_app
from espl_bench.cli.declare.retriever import retriever_app
from espl_bench.cli.declare.sweep import sweep_app
from espl_bench.cli.group import AsJson, Commands, Quiet
from espl_bench.cli.options import MAX_COST, MAX_TOKENS_TOTAL, PRICES, Chosen, RunOptionsCommand, make_budget, takes_run_options
from espl_bench.cli.run_option import flag_of
from espl_bench.errors import EsplError, OptionError, UsageError

PROGRAM = "espl-bench"
STOPPED_BY_CTRL_C = 130
"""Exit code that typer turns a KeyboardInterrupt into."""


app = typer.Typer(cls=Commands, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
app.add_typer(data_app, name="data")
app.add_typer(sweep_app, name="sweep")
app.add_typer(retriever_app, name="retriever")
app.add_typer(results_app, name="results")

Method = Annotated[str, typer.Option("--method", help="See [bold]methods[/].", rich_help_panel="What runs", metavar="NAME")]
Env = Annotated[str, typer.Option("--env", help="See [bold]envs[/].", rich_help_panel="What runs", metavar="NAME")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Does evolving system prompts help RL on your task? Runs, compares and tabulates the answers."""


@app.command(cls=RunOptionsCommand)
@takes_run_options
def run(
    *,
    method: Method = "espl",
    env: Env = "rulebook",
    seed: Annotated[int, typer.Option("--seed", help="Names every random draw.", rich_help_panel="What runs", metavar="N")] = 0,
    chosen: Chosen,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Run directory. Default: runs/ENV-METHOD-sSEED.", rich_help_panel="Output", metavar="DIR", show_default=False
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be spent, and stop.", rich_help_panel="Output")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run one method on one environment with one seed.

    Defaults are the paper's, or the environment's where it sets its own. A flag without a value is undone by its --no- form.
    """
    from espl_bench.cli.commands import run as command

    config = command.configure(method, env, seed, chosen)
    if dry_run:
        command.dry_run(config, as_json, chosen.budget())
    else:
        command.start(config, out or command.default_folder(config), quiet, as_json, chosen.budget(), chosen.trackers())


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN")],
    max_cost: Annotated[float | None, MAX_COST] = None,
    max_tokens_total: Annotated[int | None, MAX_TOKENS_TOTAL] = None,
    prices: Annotated[str | None, PRICES] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that was stopped, to the same end as an unbroken one. Limits count what it spent before, too."""
    from espl_bench.cli.commands import run as command

    budget = make_budget({"max_cost": max_cost, "max_tokens_total": max_tokens_total, "prices": prices})
    command.go_on(folder, quiet, as_json, budget)


@app.command(cls=RunOptionsCommand)
@takes_run_options
def compare(
    *,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="With commas between. Default: every registered method.",
            rich_help_panel="What runs",
            metavar="A,B,…",
            show_default=False,
        ),
    ] = None,
    env: Env = "rulebook",
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="Seeds 0 … N-1. Default: 3.", rich_help_panel="What runs", metavar="N", min=1, show_default=False),
    ] = None,
    seed_list: Annotated[
        str | None, typer.Option("--seed-list", help="These seeds instead.", rich_help_panel="What runs", metavar="0,1,…")
    ] = None,
    chosen: Chosen,
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs and the table.", rich_help_panel="Output", metavar="DIR")],
    jobs: Annotated[int, typer.Option("--jobs", help="Runs at a time.", rich_help_panel="Output", metavar="N", min=1)] = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run several methods with several seeds, and print the table.

    Finished runs in the folder are kept and unfinished ones resumed, so the same command goes on after a stop.
    """
    from espl_bench.cli.commands import compare as command

    plan = command.make_plan(methods, env, command.parse_seeds(seeds, seed_list), chosen, out)
    raise typer.Exit(command.carry_out(plan, jobs, quiet, as_json))


@app.command()
def table(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATHS…", help="Runs, summary files, or folders of runs. Default: results/.", show_default=False),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="NAME", help="Method that differences are taken against. Default: base.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--match",
            metavar="BUDGET",
            help="Also scores at equal rollouts, generated_tokens, train_tokens, seconds or cost, read on the learning curves.",
        ),
    ] = None,
    wanted: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="screen, markdown, latex, html, csv or json. Default: screen.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown.")] = False,
    at_splits: Annotated[bool, typer.Option("--at-splits", help="Also the validation and test score at every evaluated step.")] = False,
    paper: Annotated[
        bool, typer.Option("--paper", help="Instead the paper's comparison: what it reports beside what was measured.")
    ] = False,
) -> None:
    """Tabulate finished runs with intervals and paired differences."""
    from espl_bench.cli.commands import table as command

    form = command.choose_format(wanted, as_json, markdown)
    chosen = command.choose_paths(paths, paper)
    if paper:
        command.print_paper(chosen, form)
    else:
        command.print_table(chosen, against, command.choose_budget(budget), form, at_splits)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="RUN")],
    prompts: Annotated[bool, typer.Option("--prompts", help="Every prompt's principles and their evidence.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="The whole lineage.")] = False,
    rollout: Annotated[int | None, typer.Option("--rollout", metavar="N", help="Rollout N of a step. Default: 0.")] = None,
    step: Annotated[int | None, typer.Option("--step", metavar="S", help="Of step S. Default: the last.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Look into a run: its prompts, their ratings and lineage, and what the model wrote."""
    from espl_bench.cli.commands import show as command

    command.show_run(folder, prompts, tree, rollout, step, as_json)


for looking in (plot, report, view):
    app.command()(looking)


app.command()(grade)
app.command()(plan)
app.command()(attribute)
app.command()(quotes)


@app.command()
def verify(folder: Annotated[Path, typer.Argument(metavar="RUN")], quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Grade a run's stored rollouts again, and compare them with what it says of itself."""
    from espl_bench.cli.commands import verify as command

    raise typer.Exit(command.verify_run(folder, as_json, quiet))


@app.command()
def methods(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the methods that can be run."""
    from espl_bench.cli.commands import catalogue as command

    command.list_methods(as_json)


@app.command()
def envs(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the environments that can be run on."""
    from espl_bench.cli.commands import catalogue as command

    command.list_environments(as_json)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Tell what this machine can run: devices, versions, sizes of models, and the command to begin with."""
    from espl_bench.cli.commands import doctor as command

    command.diagnose(as_json)


def invoke(arguments: Sequence[str]) -> int:
    """Run a command line and tell its errors; returns the exit code."""
    try:
        code = app(list(arguments) or ["--help"], prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _complain(_hint(error), error.exit_code)
    except OptionError as error:
        return _complain(error.spelled(flag_of), 2)
    except EsplError as error:
        return _complain(str(error), 2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # whoever read our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if code == STOPPED_BY_CTRL_C:
        return _complain("interrupted", STOPPED_BY_CTRL_C)
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """The console script."""
    sys.exit(invoke(sys.argv[1:]))


def _complain(message: str, code: int) -> int:
    typer.echo(f"{PROGRAM}: {' '.join(message.split())}", err=True)
    return code


def _hint(error: typer.TyperException) -> str:
    """Typer's message in one line, ending in where to look."""
    possibilities: list[str] = getattr(error, "possibilities", None) or []
    name = getattr(error, "option_name", None)
    meant = f"; did you mean '{possibilities[0]}'?" if possibilities else ";"
    context = getattr(error, "ctx", None)
    place = context.command_path if context else PROGRAM
    message = f"unknown option '{name}'" if hasattr(error, "possibilities") else error.format_message().rstrip(".")
    return f"{message}{meant} see {place} --help"
