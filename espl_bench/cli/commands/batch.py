"""Shared by `compare` and `sweep`: a set of runs, the unfinished ones among them, and the tables made at the end."""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from espl_bench.cli.commands.compare_display import CompareDisplay
from espl_bench.cli.console import out_console
from espl_bench.errors import EsplError, RunDirError
from espl_bench.leaderboard.board import Board, build_board
from espl_bench.leaderboard.collect import entries_of, read_run
from espl_bench.leaderboard.render import to_json, to_markdown, to_screen
from espl_bench.runs.run_dir import CONFIG, SUMMARY, RunDir
from espl_bench.runs.summary import Summary
from espl_bench.sweep.processes import Job, JobResult, RunStatus
from espl_bench.utils import foreign_files
from espl_bench.utils.atomic_io import encode_text, require_room, write_atomic
from espl_bench.utils.disk_refusals import writing

TABLES = ("table.md", "table.json")
START_BYTES = 2**16
"""Room without which no run can even begin."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Runs in the order they are started."""

    out: Path
    jobs: tuple[Job, ...]
    damaged: tuple[str, ...] = ()
    """Why runs that are there already are left out, one line each."""
    display_name: str = ""
    """Display name of `out` if it differs from the path."""

    def __str__(self) -> str:
        """Return the display name of the folder of runs."""
        return self.display_name or str(self.out)

    @property
    def waiting(self) -> list[Job]:
        """Runs without a summary."""
        return [job for job in self.jobs if not foreign_files.exists(job.folder / SUMMARY)]


def damage_of(folder: Path) -> str | None:
    """Say why the run that is in a folder already cannot be gone on with; None if it can, or if there is none."""
    if not foreign_files.exists(folder / CONFIG):
        return None
    try:
        RunDir.open(folder).config()
    except EsplError as error:
        return str(error)
    return None


def run_batch(plan: BatchPlan, execute: Callable[[Sequence[Job]], Sequence[JobResult]], display: CompareDisplay, as_json: bool) -> int:
    """Run the unfinished jobs, write and print the table, and return the exit code.

    Raises EsplError when stopped by a signal, after the runs have saved, and RunDirError if the tables, which are printed then too,
    cannot be written.
    """
    with writing(plan.out, "repeat the command, or choose another --out"):
        plan.out.mkdir(parents=True, exist_ok=True)
        foreign_files.require_own(plan.out)
        waiting = plan.waiting
        if waiting:  # or each of them would find out for itself
            require_room(plan.out, START_BYTES)
    finished = len(plan.jobs) - len(waiting)
    with display:
        display.said(f"{len(plan.jobs)} runs in {plan}" + (f", {finished} already finished" if finished else ""))
        results = execute(waiting)
    if len(results) < len(waiting) or any(result.fate is RunStatus.STOPPED for result in results):
        again = shlex.join(["espl-bench", *sys.argv[1:]])
        raise EsplError(
            f"stopped with {len(plan.waiting)} of {len(plan.jobs)} runs unfinished; their work is saved; continue with: {again}"
        )
    runs, damaged = _read(plan)
    board = build_board(entries_of(runs))
    unwritten = _write(board, plan)
    _print(board, plan, as_json, written=unwritten is None)
    failed = [result for result in results if result.fate is RunStatus.FAILED]
    for result in failed:
        rest = f" (full log: {result.job.log})" if foreign_files.exists(result.job.log) else ""
        sys.stderr.write(f"espl-bench: {result.job.name} failed: {result.reason}{rest}\n")
    for reason in (*plan.damaged, *damaged):
        sys.stderr.write(f"espl-bench: left out of the table: {reason}\n")
    if unwritten is not None:
        raise unwritten
    return 1 if failed or damaged or plan.damaged else 0


def _read(plan: BatchPlan) -> tuple[list[Summary], list[EsplError]]:
    """Read every result, or why it cannot be."""
    runs: list[Summary] = []
    damaged: list[EsplError] = []
    for job in plan.jobs:
        try:
            if foreign_files.exists(job.folder / SUMMARY):
                runs.append(read_run(job.folder / SUMMARY))
        except EsplError as error:
            damaged.append(error)
    return runs, damaged


def _write(board: Board, plan: BatchPlan) -> RunDirError | None:
    """Write the tables; returns the error of a disk that refuses, since what took hours must be printed all the same."""
    try:
        for name, text in zip(TABLES, (to_markdown(board), to_json(board)), strict=True):
            with writing(plan.out / name, "repeat the command: the runs are kept"):
                write_atomic(plan.out / name, [encode_text(text)])
    except RunDirError as error:
        return error
    return None


def _print(board: Board, plan: BatchPlan, as_json: bool, written: bool) -> None:
    if as_json:
        sys.stdout.write(to_json(board))
    elif board.tables:
        console = out_console()
        console.print(to_screen(board, console.width))
        if written:
            console.print(f"written: {', '.join(f'{plan}/{name}' for name in TABLES)}", soft_wrap=True, markup=False)
