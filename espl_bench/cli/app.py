"""The command line: commands, options and error messages. `cli/commands` implements each command.

Nothing heavy is imported here: a command imports its own module when it runs, so `espl-bench --help` answers at once.
An error that the user can fix is one line on stderr, with exit code 2 for wrong usage and 1 for any other failure.
Any other exception is a bug and keeps its traceback.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from espl_bench import __version__
from espl_bench.cli.completion import listed, of_seam
from espl_bench.cli.declare.analysis import attribute, contamination, measure, plan, selectors
from espl_bench.cli.declare.data import data_app
from espl_bench.cli.declare.env import env_app
from espl_bench.cli.declare.export import export
from espl_bench.cli.declare.export_scores import export_scores
from espl_bench.cli.declare.gateway import gateway
from espl_bench.cli.declare.grade import grade
from espl_bench.cli.declare.model import model_app
from espl_bench.cli.declare.report import plot, report, view
from espl_bench.cli.declare.results import results_app
from espl_bench.cli.declare.retriever import retriever_app
from espl_bench.cli.declare.stats import stats
from espl_bench.cli.declare.sweep import sweep_app
from espl_bench.cli.escaping import print_anything
from espl_bench.cli.group import CommandGroup
from espl_bench.cli.run_option import flag_of
from espl_bench.cli.shared_options import MAX_COST, MAX_TOKENS_TOTAL, PRICES, AsJson, ContactOption, NoDownload, Quiet, SendKeyOption
from espl_bench.errors import EsplError, OptionError, UsageError
from espl_bench.registry import ENVIRONMENTS, METHODS
from espl_bench.utils.stop_signal import STOPPED_BY_CTRL_C, raising
from espl_bench.utils.terminal_text import clean

if TYPE_CHECKING:
    from espl_bench.cli.options import Chosen

PROGRAM = "espl-bench"

app = CommandGroup(pretty_exceptions_enable=False, add_completion=True)
app.add_typer(data_app, name="data")
app.add_typer(env_app, name="env")
app.add_typer(model_app, name="model")
app.add_typer(sweep_app, name="sweep")
app.add_typer(retriever_app, name="retriever")
app.add_typer(results_app, name="results")

Method = Annotated[
    str,
    typer.Option(
        "--method",
        help="Method; listed by [bold]methods[/].",
        rich_help_panel="What runs",
        metavar="NAME",
        autocompletion=of_seam(METHODS),
    ),
]
Env = Annotated[
    str,
    typer.Option(
        "--env",
        help="Environment; listed by [bold]envs[/].",
        rich_help_panel="What runs",
        metavar="NAME",
        autocompletion=of_seam(ENVIRONMENTS),
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Find out whether evolving system prompts helps RL on your task: run methods, compare them, tabulate the results."""


@app.run_command()
def run(
    *,
    method: Method = "espl",
    env: Env = "rulebook",
    seed: Annotated[int, typer.Option("--seed", help="Seed of every random draw.", rich_help_panel="What runs", metavar="N")] = 0,
    chosen: "Chosen",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Run directory. Default: runs/ENV-METHOD-sSEED.", rich_help_panel="Output", metavar="DIR", show_default=False
        ),
    ] = None,
    no_download: NoDownload = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the estimated cost without running.", rich_help_panel="Output")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run one method on one environment with one seed.

    Defaults are the paper's, or the environment's where it sets its own. A flag without a value is undone by its --no- form. Data and
    models that are not here are fetched from the hub.
    """
    from espl_bench.cli.commands import provide
    from espl_bench.cli.commands import run as command

    config = command.configure(method, env, seed, chosen)
    if not quiet:
        provide.tell_defaults([config], chosen.values)
    command.confirm_file([config], chosen, "run")
    if dry_run:
        command.dry_run(config, as_json, chosen.budget())
    else:
        provide.provide(config, provide.Provision(not no_download, quiet))
        command.start(config, out or command.default_folder(config), quiet, as_json, chosen.budget(), chosen.trackers())


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN")],
    max_cost: Annotated[float | None, MAX_COST] = None,
    max_tokens_total: Annotated[int | None, MAX_TOKENS_TOTAL] = None,
    prices: Annotated[str | None, PRICES] = None,
    allow_changed: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-changed",
            metavar="WHAT",
            help="Go on although this differs from what the run was started with: config, version, model, environment, items or "
            "templates; may be repeated. It is recorded, and tables say it.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help="Where the run's model folder is now.", show_default=False)
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="NAME=PATH",
            help="Where a file is now that an option of the environment names, e.g. test=FILE; may be repeated.",
            show_default=False,
        ),
    ] = None,
    data_home: Annotated[
        Path | None, typer.Option("--data-home", metavar="DIR", help="Where the data home is now.", show_default=False)
    ] = None,
    contact: ContactOption = None,
    send_key: SendKeyOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Resume a stopped run. It ends exactly as an uninterrupted run would. Limits include what it spent before.

    Configuration, version, model, environment, items and templates must be what they were. What a run that you did not start on this
    machine connects to has to be confirmed.
    """
    from espl_bench.cli.commands import run as command
    from espl_bench.cli.options import make_budget

    budget = make_budget({"max_cost": max_cost, "max_tokens_total": max_tokens_total, "prices": prices})
    places = command.NewPlaces(model, tuple(data or ()), data_home)
    command.go_on(folder, quiet, as_json, budget, allow_changed or (), places, command.Consent.of(contact, send_key))


@app.run_command()
def compare(
    *,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="Comma-separated names, or all. Default: base, rl_only, reflection_only, evolution_only, espl.",
            rich_help_panel="What runs",
            metavar="A,B,…",
            show_default=False,
            autocompletion=listed(METHODS, "all"),
        ),
    ] = None,
    env: Env = "rulebook",
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="Seeds 0 … N-1. Default: 3.", rich_help_panel="What runs", metavar="N", min=1, show_default=False),
    ] = None,
    seed_list: Annotated[
        str | None,
        typer.Option("--seed-list", help="Comma-separated seeds, instead of --seeds.", rich_help_panel="What runs", metavar="0,1,…"),
    ] = None,
    chosen: "Chosen",
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs and the table.", rich_help_panel="Output", metavar="DIR")],
    no_download: NoDownload = False,
    jobs: Annotated[int, typer.Option("--jobs", help="Number of runs at a time.", rich_help_panel="Output", metavar="N", min=1)] = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run several methods with several seeds, and print the table.

    Finished runs in the folder are kept and unfinished ones are resumed. Repeat the command to continue after a stop.
    """
    from espl_bench.cli.commands import compare as command
    from espl_bench.cli.commands.provide import Provision

    plan = command.make_plan(methods, env, command.parse_seeds(seeds, seed_list), chosen, out, Provision(not no_download, quiet))
    raise typer.Exit(command.carry_out(plan, jobs, quiet, as_json))


@app.command()
def table(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATHS…", help="Runs, summary files, or folders of runs. Default: results/.", show_default=False),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="NAME", help="Method to compare the others with. Default: base.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--match",
            metavar="BUDGET",
            help="Also compare at equal rollouts, generated_tokens, train_tokens, seconds or cost, read from learning curves.",
        ),
    ] = None,
    wanted: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="screen, markdown, latex, html, csv or json. Default: screen.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    at_splits: Annotated[
        bool, typer.Option("--at-splits", help="Also print the validation and test scores of every evaluated step.")
    ] = False,
    measures: Annotated[
        str | None,
        typer.Option(
            "--measures",
            metavar="A,B,…",
            help="Also print what [bold]measure[/] found: all, or kl, behaviour, unprompted, length, cost, other, steps, area, kept, "
            "forgot, text, text_after, asymptote, rate, midpoint.",
            show_default=False,
        ),
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Print the paper's table instead: its reported scores next to yours.")] = False,
) -> None:
    """Tabulate finished runs, with confidence intervals and paired differences."""
    from espl_bench.cli.commands import table as command

    form = command.choose_format(wanted, as_json, markdown)
    chosen = command.choose_paths(paths, paper)
    if paper:
        command.print_paper(chosen, form)
    else:
        columns = command.choose_measures(measures)
        command.print_table(chosen, against, command.choose_budget(budget), form, at_splits, columns)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="RUN")],
    prompts: Annotated[bool, typer.Option("--prompts", help="Print every prompt's principles and their evidence.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Draw the whole lineage.")] = False,
    rollout: Annotated[int | None, typer.Option("--rollout", metavar="N", help="Print rollout N of a step. Default: 0.")] = None,
    step: Annotated[int | None, typer.Option("--step", metavar="S", help="Step of the rollout. Default: the last.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
    all_prompts: Annotated[
        bool,
        typer.Option("--all", help="Print every prompt. Without it, of more than 2,000 prompts the newest 2,000 are printed."),
    ] = False,
) -> None:
    """Show a run: its prompts, their ratings and lineage, and what the model wrote."""
    from espl_bench.cli.commands import show as command

    command.show_run(folder, prompts, tree, rollout, step, as_json, all_prompts)


for viewer in (plot, report, view):
    app.command()(viewer)


app.command()(grade)
app.command()(gateway)
app.command()(plan)
app.command()(attribute)
app.command()(measure)
app.command()(contamination)
app.command()(selectors)
app.command()(export)
app.command()(stats)
app.command("export-scores")(export_scores)
app.command("quotes", hidden=True)(contamination)  # its name in earlier versions


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="RUN")],
    contact: ContactOption = None,
    send_key: SendKeyOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Re-grade a run's stored rollouts and compare them with its recorded results."""
    from espl_bench.cli.commands import verify as command

    raise typer.Exit(command.verify_run(folder, as_json, quiet, command.Consent.of(contact, send_key)))


@app.command()
def methods(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the installed methods."""
    from espl_bench.cli.commands import listings as command

    command.list_methods(as_json)


@app.command()
def envs(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the installed environments."""
    from espl_bench.cli.commands import listings as command

    command.list_environments(as_json)


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Report what this machine can run: devices, versions, model sizes, and a first command."""
    from espl_bench.cli.commands import doctor as command

    command.diagnose(as_json)


def invoke(arguments: Sequence[str]) -> int:
    """Run a command line, print its errors and return the exit code.

    A disk that is full or refuses is no bug wherever it is met: what has no message of its own gets one here.
    """
    try:
        code = app(list(arguments) or ["--help"], prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _complain(_hint(error), error.exit_code)
    except OptionError as error:
        return _complain(error.spelled(flag_of), 2)
    except EsplError as error:
        return _complain(str(error), 2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # the reader of our output has closed the pipe, as `head` does
        _abandon_output()
        return 1
    except OSError as error:
        from espl_bench.utils.disk_refusals import refusal  # not needed for --help

        reason = refusal(error)
        if reason is None:
            raise
        _abandon_output()
        return _complain(reason, 1)
    if code == STOPPED_BY_CTRL_C:
        return _complain("interrupted", STOPPED_BY_CTRL_C)
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """Run the console script."""
    print_anything()
    with raising():
        code = invoke(sys.argv[1:])
    sys.exit(code)


def _abandon_output() -> None:
    """Send what is still to be printed nowhere, or Python would try again at its end and complain."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, code: int) -> int:
    with suppress(OSError):  # the terminal is gone, or the disk of a log is full: the exit code still tells
        typer.echo(f"{PROGRAM}: {' '.join(clean(message).split())}", err=True)
    return code


def _hint(error: typer.TyperException) -> str:
    """Return Typer's message in one line that ends with where to look."""
    possibilities: list[str] = getattr(error, "possibilities", None) or []
    name = getattr(error, "option_name", None)
    meant = f"; did you mean '{possibilities[0]}'?" if possibilities else ";"
    context = getattr(error, "ctx", None)
    command = context.command_path if context else PROGRAM
    message = f"unknown option '{name}'" if hasattr(error, "possibilities") else error.format_message().rstrip(".")
    return f"{message}{meant} see {command} --help"
