"""`compare`: several methods with several seeds, each run in a process of its own, then the table.

Runs are processes so that one cannot disturb another: each has its own memory, threads and signals, and its stderr is
kept in a log next to its run directory. A failed run does not stop the others. Finished runs are kept and unfinished
ones are resumed, so repeating the command continues where it stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from espl_bench.cli.commands import batch
from espl_bench.cli.commands.batch import BatchPlan, damage_of
from espl_bench.cli.commands.compare_display import CompareDisplay
from espl_bench.cli.commands.provide import FETCH, Provision, provide_all, tell_defaults
from espl_bench.cli.commands.run import configure, confirm_file
from espl_bench.cli.console import err_console
from espl_bench.cli.options import Chosen
from espl_bench.config.contacts import contacts_of
from espl_bench.config.run_config import RunConfig
from espl_bench.errors import UsageError
from espl_bench.registry import METHODS, names
from espl_bench.runs.consent import Consent
from espl_bench.runs.run_dir import CONFIG, RunDir
from espl_bench.sweep.processes import Job, run_all
from espl_bench.utils import foreign_files

DEFAULT_SEEDS = 3
DEFAULT_METHODS = ("base", "rl_only", "reflection_only", "evolution_only", "espl")
"""E-SPL and what the paper compares it with."""
ALL = "all"
"""In place of names: every registered method, rivals and those of other packages too."""


def parse_seeds(number: int | None, listed: str | None) -> tuple[int, ...]:
    """Parse ``--seeds N`` or ``--seed-list 0,1,…``. Raises UsageError if both are given or a seed is not a whole number."""
    if listed is None:
        return tuple(range(DEFAULT_SEEDS if number is None else number))
    if number is not None:
        raise UsageError("--seeds and --seed-list both name the seeds; use only one of them")
    parts = [part.strip() for part in listed.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--seed-list takes comma-separated whole numbers, not '{listed}'")
    return tuple(dict.fromkeys(int(part) for part in parts))


def parse_methods(listed: str | None) -> tuple[str, ...]:
    """Parse ``--methods A,B,…`` or ``--methods all``. Raises UsageError if it names none."""
    if listed is None:
        return DEFAULT_METHODS
    if listed.strip() == ALL:
        return tuple(names(METHODS))
    if not (wanted := [name.strip() for name in listed.split(",") if name.strip()]):
        raise UsageError("--methods names no method; e.g. --methods base,espl")
    return tuple(dict.fromkeys(wanted))


def make_plan(methods: str | None, env: str, seeds: Sequence[int], chosen: Chosen, out: Path, provision: Provision = FETCH) -> BatchPlan:
    """Resolve every run, and bring the data and models that they share, before the first one starts.

    Raises UsageError for an invalid configuration, and if a folder holds a run of another configuration; DataError if data are missing.
    """
    wanted = parse_methods(methods)
    named = [(f"--method={method}", f"--env={env}", f"--seed={seed}") for seed in seeds for method in wanted]
    configs = [configure(method, env, seed, chosen) for seed in seeds for method in wanted]
    confirm_file(configs, chosen, "compare")
    damage = {config.folder_name: fault for config in configs if (fault := damage_of(out / config.folder_name))}
    pairs = [(choice, config) for choice, config in zip(named, configs, strict=True) if config.folder_name not in damage]
    plan = BatchPlan(out, tuple(_job(choice, config, chosen, out) for choice, config in pairs), tuple(damage.values()))
    if plan.waiting:
        if not provision.quiet:
            tell_defaults(configs[:1], chosen.values)
        waiting = {job.folder for job in plan.waiting}
        provide_all(((f"run {config.folder_name}", config) for _, config in pairs if out / config.folder_name in waiting), provision)
    return plan


def _job(named: Sequence[str], config: RunConfig, chosen: Chosen, out: Path) -> Job:
    folder = out / config.folder_name
    program = (sys.executable, "-m", "espl_bench")
    if foreign_files.exists(folder / CONFIG):
        RunDir.open(folder).refuse_changes(config)
        consent = Consent.to(contacts_of(config)) | Consent.of(chosen.trackers(), None)
        return Job(folder, (*program, "resume", str(folder), "--quiet", *chosen.limits(), *consent.flags()), config.iterations)
    return Job(folder, (*program, "run", *named, f"--out={folder}", "--quiet", *chosen.arguments()), config.iterations)


def carry_out(plan: BatchPlan, at_a_time: int, quiet: bool, as_json: bool) -> int:
    """Run the unfinished jobs, write and print the table, and return the exit code. Raises as `batch.run_batch` does."""
    at_a_time = max(1, min(at_a_time, len(plan.jobs)))
    display = CompareDisplay(err_console(), plan.waiting, quiet)
    return batch.run_batch(plan, lambda jobs: run_all(jobs, at_a_time, display), display, as_json)
