"""`verify`: re-grade a run's stored rollouts and print one line if they agree with its records, else the differences."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from espl_bench.analysis import verify
from espl_bench.cli.console import err_console, out_console, plain_table, write_json
from espl_bench.runs.consent import Consent
from espl_bench.runs.run_dir import RunDir
from espl_bench.utils.formatting import percent, plain

SHOWN: Final = 40
"""Number of differences in the table; --json prints all."""


def verify_run(folder: Path, as_json: bool, quiet: bool, consent: Consent) -> int:
    """Print the findings; return 0 if everything agrees, else 1. Raises EsplError for a missing run or other data."""
    run_dir = RunDir.open(folder)
    with grading_progress(quiet) as progress:
        verification = verify.verify(run_dir, progress, consent)
    if as_json:
        record = {
            "run": str(folder),
            "agrees": not verification.differences,
            "finished": verification.summary is not None,
            "rollouts": verification.rollouts,
            "files": verification.files,
            "score": verification.summary.score if verification.summary else None,
            "differences": [asdict(difference) for difference in verification.differences],
        }
        write_json(json.dumps(record, indent=2) + "\n")
    elif verification.differences:
        _print_differences(verification)
    else:
        out_console().print(plain(f"{folder}: {_agreement(verification)}"), soft_wrap=True)
    return 1 if verification.differences else 0


def _agreement(verification: verify.Verification) -> str:
    looked_at = f"{verification.rollouts:,} rollouts in {verification.files:,} files, re-graded, agree with the run's records"
    if verification.summary is None:
        return f"{looked_at}; it is unfinished and has no result yet"
    summary = verification.summary
    return f"{looked_at}: test {percent(summary.score)} over {summary.n_items:,} items x {summary.k}"


def _print_differences(verification: verify.Verification) -> None:
    table = plain_table("where", "what", "the run says", "found")
    for difference in verification.differences[:SHOWN]:
        table.add_row(*map(plain, (difference.place, difference.what, difference.recorded, difference.found)))
    console = out_console()
    console.print(table)
    more = len(verification.differences) - SHOWN
    if more > 0:
        console.print(plain(f"and {more:,} more, see --json", "dim"))
    total = f"{len(verification.differences):,} differences in {verification.rollouts:,} rollouts and {verification.files:,} files"
    console.print(plain(f"{verification.run_dir.path}: {total}", "bold"), soft_wrap=True)


@contextmanager
def grading_progress(quiet: bool, words: str = "grading again", unit: str = "files") -> Generator[verify.Progress]:
    """Show a progress bar on stderr if it is a terminal and `quiet` is off."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(words)
        yield lambda done, total: bar.update(task, completed=done, total=total)
