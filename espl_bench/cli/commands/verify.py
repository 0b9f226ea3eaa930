"""`verify`: re-grade a run's stored rollouts and print one line if they agree with its records, else the differences."""

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from espl_bench.analysis import verify
from espl_bench.cli.console import err_console, out_console, plain_table
from espl_bench.runs.run_dir import RunDir
from espl_bench.utils.formatting import percent, plain

SHOWN: Final = 40
"""Number of differences in the table; --json prints all."""


def verify_run(folder: Path, as_json: bool, quiet: bool) -> int:
    """Print the findings; return 0 if everything agrees, else 1. Raises EsplError for a missing run or other data."""
    run_dir = RunDir.open(folder)
    with grading_progress(quiet) as progress:
        found = verify.verify(run_dir, progress)
    if as_json:
        record = {
            "run": str(folder),
            "agrees": not found.differences,
            "finished": found.summary is not None,
            "rollouts": found.rollouts,
            "files": found.files,
            "score": found.summary.score if found.summary else None,
            "differences": [asdict(each) for each in found.differences],
        }
        sys.stdout.write(json.dumps(record, indent=2) + "\n")
    elif found.differences:
        _print_differences(found)
    else:
        out_console().print(plain(f"{folder}: {_agreement(found)}"), soft_wrap=True)
    return 1 if found.differences else 0


def _agreement(found: verify.Verification) -> str:
    looked_at = f"{found.rollouts:,} rollouts in {found.files:,} files, re-graded, agree with the run's records"
    if found.summary is None:
        return f"{looked_at}; it is unfinished and has no result yet"
    summary = found.summary
    return f"{looked_at}: test {percent(summary.score)} over {summary.n_items:,} items x {summary.k}"


def _print_differences(found: verify.Verification) -> None:
    table = plain_table("where", "what", "the run says", "found")
    for each in found.differences[:SHOWN]:
        table.add_row(*map(plain, (each.place, each.what, each.recorded, each.found)))
    console = out_console()
    console.print(table)
    more = len(found.differences) - SHOWN
    if more > 0:
        console.print(plain(f"and {more:,} more, see --json", "dim"))
    total = f"{len(found.differences):,} differences in {found.rollouts:,} rollouts and {found.files:,} files"
    console.print(plain(f"{found.run_dir.path}: {total}", "bold"), soft_wrap=True)


@contextmanager
def grading_progress(quiet: bool, words: str = "grading again") -> Generator[verify.Progress]:
    """Show a progress bar on stderr if it is a terminal and `quiet` is off."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("files"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(words)
        yield lambda done, total: bar.update(task, completed=done, total=total)
