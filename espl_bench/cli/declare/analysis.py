"""Declarations of the commands that analyse runs. `cli/commands` implements them."""

from pathlib import Path
from typing import Annotated

import typer

from espl_bench.cli.shared_options import AsJson, ContactOption, MovedModel, Quiet, SendKeyOption


def plan(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATHS…", help="Runs, or folders of runs, to estimate the noise from. Default: results/.", show_default=False
        ),
    ] = None,
    env: Annotated[str, typer.Option("--env", metavar="NAME", help="Environment of the runs.")] = "rulebook",
    detect: Annotated[str, typer.Option("--detect", metavar="GAP", help="Gap to detect, in percentage points.")] = "3pp",
    methods: Annotated[
        str | None, typer.Option("--methods", metavar="A,B", help="The two methods. Default: the two best.", show_default=False)
    ] = None,
    items: Annotated[
        int | None,
        typer.Option(
            "--items",
            metavar="N",
            min=2,
            help="Number of test items. Default: as many as in the runs, and half of that.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Plan the seeds, items and samples needed to separate a gap between two methods, and their cost."""
    from espl_bench.cli.commands import plan as command
    from espl_bench.cli.commands.table import choose_paths

    command.print_plan(choose_paths(paths, False), env, command.parse_gap(detect), methods, items, as_json)


def attribute(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="A finished run, or several seeds of one method.", show_default=False)],
    other: Annotated[
        list[Path] | None,
        typer.Option(
            "--other",
            metavar="RUN",
            help="Also try this run's evolved prompt. Default: another seed in the same folder.",
            show_default=False,
        ),
    ] = None,
    model: MovedModel = None,
    contact: ContactOption = None,
    send_key: SendKeyOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Attribute a gain to the prompt and to the weights: test {base, trained weights} x {root, evolved prompt}.

    Each result is saved in the run directory, so a second call continues where the first stopped.
    """
    from espl_bench.cli.commands import attribute as command

    command.attribute(runs, other or [], model, quiet, as_json, command.Consent.of(contact, send_key))


def measure(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Finished runs of engine hf.", show_default=False)],
    env: Annotated[
        str | None, typer.Option("--env", metavar="NAME", help="Environment of a second task. Default: the run's.", show_default=False)
    ] = None,
    env_options: Annotated[
        list[str] | None,
        typer.Option(
            "--env-option",
            metavar="KEY=VALUE",
            help="Option of the second task's environment, e.g. world=7; may be repeated. Without --env and --env-option no second task "
            "is learned.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Iterations in which the second task is learned.")] = 20,
    eval_every: Annotated[int, typer.Option("--eval-every", metavar="N", min=1, help="Iterations between its validations.")] = 2,
    target: Annotated[
        float | None,
        typer.Option(
            "--target",
            metavar="POINTS",
            min=0,
            max=100,
            help="Score of its validation to count the steps to. Default: where the base ends.",
            show_default=False,
        ),
    ] = None,
    learn_by: Annotated[str, typer.Option("--learn-by", metavar="METHOD", help="Method that learns it.")] = "rl_only",
    text: Annotated[
        Path | None,
        typer.Option("--text", metavar="FILE", help="Text whose perplexity is measured. Default: none is.", show_default=False),
    ] = None,
    model: MovedModel = None,
    contact: ContactOption = None,
    send_key: SendKeyOption = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure finished runs beyond their score: drift from the base, the test without the prompt, plasticity, forgetting, a sigmoid.

    The results are stored as measures.json in each run's folder, which is otherwise unchanged; [bold]table --measures all[/] shows them.
    """
    from espl_bench.cli.commands import measure as command

    second = command.choose_second(env, env_options or [], steps, eval_every, target, learn_by)
    command.measure_runs(runs, second, text, model, quiet, as_json, command.Consent.of(contact, send_key))


def contamination(run: Annotated[Path, typer.Argument(metavar="RUN")], as_json: AsJson = False) -> None:
    """List the principles of a run that quote training, validation or test items."""
    from espl_bench.cli.commands import contamination as command

    raise typer.Exit(command.print_quotes(run, as_json))


def selectors(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Runs of a method that breeds several prompts.", show_default=False)],
    draws: Annotated[int, typer.Option("--draws", metavar="N", min=1, help="Replays of each run under each selector.")] = 20,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Replay recorded rollouts under every selector: how far each stays behind the best prompt, by held-out scores.

    No model is loaded. Selectors see one half of the problems; the other half scores the prompts.
    """
    from espl_bench.cli.commands import selectors as command

    command.compare_selectors(runs, draws, quiet, as_json)
