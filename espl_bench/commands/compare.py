"""`compare`: several methods with several seeds, each run in a process of its own, then the table.

Runs are processes so that one cannot disturb another: each has its own memory, threads and signals, and what it says on
stderr is kept in a log beside its run directory. A run that fails stops nothing else. Finished runs are kept and
unfinished ones resumed, so the same command goes on where it was stopped.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espl_bench.commands.compare_display import CompareDisplay
from espl_bench.commands.options import Chosen
from espl_bench.commands.pool import Fate, Job, run_all
from espl_bench.commands.run import configure
from espl_bench.durable import encode_text, write_atomic
from espl_bench.errors import EsplError, UsageError
from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.grouping import Entry
from espl_bench.leaderboard.render import to_json, to_markdown, to_screen
from espl_bench.registry import METHOD_GROUP, names
from espl_bench.run_dir import CONFIG, SUMMARY, RunDir
from espl_bench.screen import err_console, out_console
from espl_bench.summary import read_summary

DEFAULT_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """Every run of a comparison, in the order they are started: seeds outer, methods inner."""

    out: Path
    jobs: tuple[Job, ...]

    @property
    def waiting(self) -> list[Job]:
        """The runs without a summary."""
        return [job for job in self.jobs if not (job.folder / SUMMARY).exists()]


def parse_seeds(number: int | None, listed: str | None) -> tuple[int, ...]:
    """``--seeds N`` or ``--seed-list 0,1,…``. Raises UsageError for both, or for what is no list of numbers."""
    if listed is None:
        return tuple(range(DEFAULT_SEEDS if number is None else number))
    if number is not None:
        raise UsageError("--seeds and --seed-list both name the seeds; give one of them")
    parts = [part.strip() for part in listed.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"--seed-list takes whole numbers with commas between, not '{listed}'")
    return tuple(dict.fromkeys(int(part) for part in parts))


def make_plan(methods: str | None, env: str, seeds: Sequence[int], chosen: Chosen, out: Path) -> Plan:
    """Resolve every run before the first one starts.

    Raises UsageError for what cannot be, and if a folder holds a run of another configuration.
    """
    wanted = names(METHOD_GROUP) if methods is None else [name.strip() for name in methods.split(",") if name.strip()]
    if not wanted:
        raise UsageError("--methods names no method; e.g. --methods base,espl")
    return Plan(out, tuple(_job(method, env, seed, chosen, out) for seed in seeds for method in dict.fromkeys(wanted)))


def _job(method: str, env: str, seed: int, chosen: Chosen, out: Path) -> Job:
    config = configure(method, env, seed, chosen)
    folder = out / f"{method}-s{seed}"
    program = (sys.executable, "-m", "espl_bench")
    if (folder / CONFIG).exists():
        RunDir.open(folder).refuse_changes(config)
        return Job(folder, (*program, "resume", str(folder), "--quiet", *chosen.limits()), config.iterations)
    named = ("run", f"--method={method}", f"--env={env}", f"--seed={seed}", f"--out={folder}", "--quiet")
    return Job(folder, (*program, *named, *chosen.arguments()), config.iterations)


def carry_out(plan: Plan, at_a_time: int, quiet: bool, as_json: bool) -> int:
    """Run what is not finished, write and print the table; returns the exit code.

    Raises EsplError when stopped by a signal, after the runs have saved.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    waiting = plan.waiting
    with CompareDisplay(err_console(), waiting, quiet) as display:
        finished = len(plan.jobs) - len(waiting)
        display.said(f"{len(plan.jobs)} runs in {plan.out}" + (f", {finished} finished already" if finished else ""))
        results = run_all(waiting, min(at_a_time, len(plan.jobs)), display)
    if len(results) < len(waiting) or any(result.fate is Fate.STOPPED for result in results):
        again = shlex.join(["espl-bench", *sys.argv[1:]])
        raise EsplError(f"stopped with {len(plan.waiting)} of {len(plan.jobs)} runs unfinished, their work is saved; go on with: {again}")
    _tabulate(plan, as_json)
    failed = [result for result in results if result.fate is Fate.FAILED]
    for result in failed:
        sys.stderr.write(f"espl-bench: {result.job.name} failed: {result.reason} (all of it: {result.job.log})\n")
    return 1 if failed else 0


def _tabulate(plan: Plan, as_json: bool) -> None:
    runs = [read_summary(job.folder / SUMMARY) for job in plan.jobs if (job.folder / SUMMARY).exists()]
    board = build_board([Entry(run.row, run) for run in runs])
    write_atomic(plan.out / "table.md", [encode_text(to_markdown(board))])
    write_atomic(plan.out / "table.json", [encode_text(to_json(board))])
    if as_json:
        sys.stdout.write(to_json(board))
    elif board.tables:
        console = out_console()
        console.print(to_screen(board, console.width))
        console.print(f"written: {plan.out / 'table.md'}, {plan.out / 'table.json'}", soft_wrap=True, markup=False)
