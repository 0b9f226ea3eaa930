"""`run` and `resume`: start or resume one run, show its progress and print its result."""

import json
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich.table import Table

from espl_bench.accounting.cost_tracker import Budget, Price
from espl_bench.build import environment_of
from espl_bench.cli.commands.provide import absent_corpus, absent_models
from espl_bench.cli.console import end_at_once, err_console, facts_grid, out_console, write, write_json
from espl_bench.cli.display import LOUD, result_line, result_panel, watching
from espl_bench.cli.options import Chosen
from espl_bench.config.contacts import ENDPOINT_KEY, SERVICE_KEY, contacts_of
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig, model_name
from espl_bench.data.store import HOME_VARIABLE
from espl_bench.dry_run.bill import CHARACTERS_PER_TOKEN, Bill, estimate_bill
from espl_bench.dry_run.described_env import described_environment
from espl_bench.dry_run.work import Estimate, estimate
from espl_bench.environment.catalogue import find_environment
from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import DataError, EsplError, UsageError
from espl_bench.monitoring.reporter import Reporter
from espl_bench.monitoring.tracking import contacts_of_trackers, tracked
from espl_bench.prompts.dialect import Dialect
from espl_bench.rollouts.outcomes import warnings_of
from espl_bench.runs.consent import NO_CONSENT, Consent, Origin, confirm
from espl_bench.runs.moved import Moved
from espl_bench.runs.run_dir import CONFIG
from espl_bench.runs.summary import Summary
from espl_bench.types import Split
from espl_bench.utils import foreign_files
from espl_bench.utils.event_loop import run_apart
from espl_bench.utils.formatting import count, duration, plain
from espl_bench.utils.names import in_file_names
from espl_bench.utils.stop_signal import STOPPED_BY_CTRL_C

if TYPE_CHECKING:
    from espl_bench.dry_run.probe import Speed


def configure(method: str, env: str, seed: int, chosen: Chosen) -> RunConfig:
    """Resolve the configuration. Raises UsageError for unknown names, before anything heavy is imported."""
    config = resolve(method, env, {**chosen.choices(), "seed": seed}, chosen.preset)
    Dialect.load(config.prompts.dialect)
    return config


def confirm_file(configs: Iterable[RunConfig], chosen: Chosen, command: str) -> None:
    """Have the user confirm what only their file of options would connect to.

    What was typed is confirmed by that, and so are the usual variables of keys, unless the file names others. Raises UsageError.
    """
    file = chosen.file
    if file is None:
        return
    usual = () if file.options & {"api_key_env", "editor_api_key_env"} else (ENDPOINT_KEY, SERVICE_KEY)
    typed = Consent.of(file.typed, [*file.typed, *usual])
    every = [*(contact for config in configs for contact in contacts_of(config)), *contacts_of_trackers(chosen.trackers())]
    foreign = [contact for contact in dict.fromkeys(every) if not typed.covers(contact)]
    again = f"espl-bench {command} --config {shlex.quote(str(file.path))}"
    confirm([(Origin(str(file.path.resolve()), file.content), foreign)], Consent.of(*chosen.confirmed), again)


def default_folder(config: RunConfig) -> Path:
    """Return the run directory used without `--out`."""
    return Path("runs") / f"{in_file_names(config.env)}-{config.folder_name}"


def start(config: RunConfig, folder: Path, quiet: bool, as_json: bool, budget: Budget, trackers: Sequence[str]) -> None:
    """Run and print the result. Raises EsplError."""
    from espl_bench import runner  # imports torch; a mistyped option should not wait for it

    _watch(lambda reporter: runner.run(config, folder, reporter=reporter, budget=budget), folder, quiet, as_json, trackers)


@dataclass(frozen=True, slots=True)
class NewPlaces:
    """Present places of what a run reads, as typed."""

    model: Path | None = None
    data: tuple[str, ...] = ()
    """``NAME=PATH``."""
    data_home: Path | None = None

    def moved(self) -> Moved:
        """Set the data home of this process, and return the other places. Raises UsageError for a place that does not exist."""
        if self.data_home is not None:
            if not self.data_home.is_dir():
                raise UsageError(f"{self.data_home} is no folder; name the one that holds the data sets")
            os.environ[HOME_VARIABLE] = str(self.data_home)
        pairs = [pair.partition("=") for pair in self.data]
        if wrong := next((name for name, sign, path in pairs if not (sign and path)), None):
            raise UsageError(f"--data takes NAME=PATH, not '{wrong}'")
        return Moved(self.model, {name: path for name, _, path in pairs})


HERE = NewPlaces()


def go_on(
    folder: Path,
    quiet: bool,
    as_json: bool,
    budget: Budget,
    allow_changed: Collection[str] = (),
    places: NewPlaces = HERE,
    consent: Consent = NO_CONSENT,
) -> None:
    """Resume a run and print its result. Raises EsplError."""
    if not folder.is_dir():
        raise UsageError(f"{folder} does not exist; name a run directory")
    from espl_bench import runner

    moved = places.moved()

    def resume(reporter: Reporter) -> Summary:
        return runner.resume(
            folder, reporter=reporter, budget=budget, allow_changed=allow_changed, moved=moved, consent=consent, warn=_warn
        )

    _watch(resume, folder, quiet, as_json, consent=consent)


def _warn(message: str) -> None:
    err_console().print(plain(message, LOUD), soft_wrap=True)


def _watch(
    work: Callable[[Reporter], Summary],
    folder: Path,
    quiet: bool,
    as_json: bool,
    trackers: Sequence[str] = (),
    consent: Consent = NO_CONSENT,
) -> None:
    try:
        with watching(err_console(), quiet) as watcher, tracked(watcher, folder, trackers, consent) as reporter:
            summary = work(reporter)
    except KeyboardInterrupt as error:  # outside the iterations, where the loop does not handle the signal
        if not foreign_files.exists(folder / CONFIG):
            raise
        raise EsplError(f"interrupted; the last checkpoint is kept; continue with: espl-bench resume {shlex.quote(str(folder))}") from error
    if as_json:
        write_json(summary.to_json())
    elif quiet:
        write(result_line(summary, folder) + "\n")
    else:
        out_console().print(result_panel(summary, folder))
    for warning in warnings_of(summary.outcomes, summary.training_outcomes):
        _warn(warning)


def dry_run(config: RunConfig, as_json: bool, budget: Budget) -> None:
    """Print what the run would cost.

    Counts are computed and printed first. The time is measured on two steps in a temporary folder (Ctrl-C ends the command at once). For an
    endpoint or a service nothing is measured: the number of requests and their price are printed instead. Counts need neither the
    model nor the data, if their description states the number of rows; nothing is fetched.
    """
    env, described = _planned_environment(config)
    sizes = {split: env.size(split) for split in Split}
    work = estimate(config, sizes, env.turns)
    bill = estimate_bill(config, env, work, budget)
    corpus = absent_corpus(config)
    missing = [*(["its data"] if described else []), *([f"corpus {corpus.name}"] if corpus is not None else [])]
    unmeasured = [*missing, *(f"model {model}" for model in absent_models(config))]
    if as_json:
        record = {**asdict(work), "items": {split.value: size for split, size in sizes.items()}, "items_are_described": bool(described)}
        if not (bill or unmeasured):
            speed = _speed(config, max(sizes[Split.VALIDATION], sizes[Split.TEST]))
            record["measured"] = {**asdict(speed), "seconds": speed.seconds(work), "most_seconds": speed.most_seconds(work)}
        if bill:
            record["endpoints"] = {**asdict(bill), "prices": {model: price.model_dump() for model, price in bill.prices.items()}}
        write_json(json.dumps(record, indent=2) + "\n")
        return
    console = out_console()
    console.print(plain(f"{config.row} · {config.env} · {model_name(config.model)} · seed {config.seed}", "bold"))
    console.print(_grid(_facts(config, sizes, work)))
    if described:
        console.print(plain(described, "yellow"))
    if bill:
        console.print(_grid(_billed(bill)))
    elif unmeasured:
        console.print(plain(f"the time was not measured; not on this machine: {', '.join(unmeasured)}"))
    else:
        console.print(_grid(_measured(_speed(config, max(sizes[Split.VALIDATION], sizes[Split.TEST])), work)))


def _planned_environment(config: RunConfig) -> tuple[TextEnv, str]:
    """Return the environment and a note. If its data are missing, the environment is a stand-in, with which only counts are planned."""
    try:
        return environment_of(config), ""
    except DataError as error:
        stand_in = described_environment(find_environment(config.env, config.env_options), error)
        return stand_in, f"counted from the description of the data, which are not stored here: {stand_in.assumes}"


def _speed(config: RunConfig, largest: int) -> "Speed":
    """Measure the speed. Ctrl-C ends the process at once: a step of a large model may take minutes."""
    from espl_bench.dry_run.probe import probe

    console = err_console()
    try:
        with (
            TemporaryDirectory(prefix="espl-bench-", ignore_cleanup_errors=True) as folder,
            console.status("measuring the time on two real steps; Ctrl-C ends this") if console.is_terminal else nullcontext(),
        ):
            return run_apart(lambda: probe(config, largest, Path(folder) / "probe"))
    except KeyboardInterrupt:
        end_at_once("interrupted; the time was not measured", STOPPED_BY_CTRL_C)


def _grid(facts: list[tuple[str, str]]) -> Table:
    grid = facts_grid()
    grid.add_column(min_width=20)
    for name, value in facts:
        grid.add_row(plain(name, "dim"), plain(value))
    return grid


def _facts(config: RunConfig, sizes: dict[Split, int], work: Estimate) -> list[tuple[str, str]]:
    batch = config.batch
    shape = f"{batch.num_prompts} prompts x {min(batch.batch_size, sizes[Split.TRAIN])} problems x {batch.group_size} rollouts"
    evaluations = ", ".join(f"{split} {times} x {sizes[Split(split)]} items" for split, times in work.evaluations.items())
    return [
        ("steps", f"{work.steps:,}"),
        ("rollouts", f"{work.rollouts:,}  ({shape} per step)"),
        ("generated tokens", f"at most {count(work.max_generated_tokens)}  ({config.sampling.max_tokens:,} per turn)"),
        ("evaluation rollouts", f"{work.eval_rollouts:,}  ({evaluations}, {config.evaluation.eval_samples} samples each)"),
        ("evaluation tokens", f"at most {count(work.max_eval_tokens)}"),
        ("reflection calls", f"at most {work.max_reflection_calls:,}"),
        ("reflection tokens", f"at most {count(work.max_reflection_tokens)}"),
        *(("besides", caveat) for caveat in work.caveats),
    ]


def _measured(speed: "Speed", work: Estimate) -> list[tuple[str, str]]:
    alike = (
        "in the measured step no problem's rollouts differed in reward, so it neither trained nor reflected; a step that does takes longer"
    )
    return [*_time(speed, work), *([("besides", alike)] if speed.without_contrast else [])]


def _time(speed: "Speed", work: Estimate) -> list[tuple[str, str]]:
    if speed.cut_at is None:
        return [
            ("tokens per rollout", f"about {speed.rollout_tokens:,.0f}, measured before any training"),
            ("time", f"about {duration(speed.seconds(work))}  ({speed.step_s:.2g} s per step, measured on this machine)"),
        ]
    return [
        ("tokens per rollout", f"about {speed.rollout_tokens:,.0f} before any training, cut at {speed.cut_at:,} to measure"),
        (
            "time",
            f"from about {duration(speed.seconds(work))}, if completions stay like these, to {duration(speed.most_seconds(work))}, "
            "if all use all their tokens",
        ),
    ]


def _billed(bill: Bill) -> list[tuple[str, str]]:
    prompts = f"about {count(bill.prompt_tokens)} of prompts, at {CHARACTERS_PER_TOKEN} characters a token"
    facts = [
        ("requests", f"at most {bill.requests:,}"),
        ("tokens asked for", f"at most {count(bill.max_sampled_tokens)} sampled, {prompts}"),
    ]
    if bill.training_requests:
        facts += [
            ("training requests", f"at most {bill.training_requests:,}; weights are saved {bill.saves:,} times"),
            ("trained tokens", f"at most {count(bill.max_trained_tokens)}, prompts included"),
        ]
    if bill.max_cost_usd is None:
        return [
            *facts,
            ("price", f"unknown: no price for {' and '.join(bill.unpriced)}; write it into a file and pass that with --prices"),
        ]
    prices = "; ".join(f"{model}: {_per_million(price)}, {price.date}" for model, price in bill.prices.items())
    return [*facts, ("price", f"at most about {bill.max_cost_usd:.2f} USD  ({prices})")]


def _per_million(price: Price) -> str:
    trained = "" if price.train is None else f", {price.train:g} trained"
    return f"{price.input:g} in, {price.output:g} out{trained} per million"
