"""Progress of a comparison: one bar over all runs with the active ones named, or a line per run."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from espl_bench.cli.display import result_line, time_left
from espl_bench.errors import RunDirError
from espl_bench.runs.logs import Log
from espl_bench.runs.run_dir import SUMMARY
from espl_bench.runs.summary import read_summary
from espl_bench.sweep.processes import Job, JobResult, RunStatus
from espl_bench.utils import foreign_files
from espl_bench.utils.formatting import clock, plain

PER_RUN = 1
"""Weight of a run's evaluations relative to one step, so that a run without steps also advances the bar."""


def steps_made(folder: Path) -> int:
    """Count the iterations that a run has logged so far."""
    try:
        return foreign_files.read_bytes(Log.METRICS.path(folder)).count(b"\n")
    except OSError:  # there is none yet, or it is damaged, which reading the run says
        return 0


class CompareDisplay:
    """Shows the progress of a pool of runs. A context manager, so that the terminal is always restored."""

    def __init__(self, console: Console, jobs: list[Job], quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._running: list[Job] = []
        self._ended: list[Job] = []
        self._jobs = jobs
        self._before = sum(steps_made(job.folder) for job in jobs)
        self._began = time.monotonic()
        self._bar = Progress(TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[note]}"), console=console)
        self._task = self._bar.add_task("runs", total=sum(_work(job) for job in jobs), note="")
        live = console.is_terminal and not quiet and bool(jobs)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True) if live else None

    def __enter__(self) -> Self:
        """Start the live display."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop the live display."""
        if self._live:
            self._live.stop()

    def said(self, line: str, style: str = "") -> None:
        """Print a line above the live display, unless quiet."""
        if not self._quiet:
            self._console.print(plain(line, style), soft_wrap=True)

    def started(self, job: Job) -> None:
        """Record that a run has started or resumed."""
        self._running.append(job)
        if self._live is None:
            self.said(f"[{self._elapsed()}] started {job.name}")

    def ended(self, result: JobResult) -> None:
        """Print how a run ended."""
        if result.job in self._running:  # not if its process could not be started
            self._running.remove(result.job)
        self._ended.append(result.job)
        prefix = f"[{self._elapsed()}] {len(self._ended)}/{len(self._jobs)} "
        if result.fate is RunStatus.FINISHED:
            self.said(prefix + _said(result.job.folder))
        else:
            self.said(f"{prefix}{result.job.name}: {result.reason}", "red" if result.fate is RunStatus.FAILED else "yellow")

    def _elapsed(self) -> str:
        return clock(time.monotonic() - self._began)

    def _render(self) -> RenderableType:
        made = {job.name: steps_made(job.folder) for job in self._jobs if job not in self._ended}
        running = "  ·  ".join(f"{job.name} {made[job.name]}/{job.iterations}" for job in self._running)
        return Group(self._advance(made), Text(running, style="cyan", no_wrap=True, overflow="ellipsis"))

    def _advance(self, made: Mapping[str, int]) -> Progress:
        """Advance the bar over all runs; `made` holds the steps of those that have not ended."""
        done = sum(map(_work, self._ended)) + sum(made.values())
        total = sum(_work(job) for job in self._jobs)
        left = time_left(time.monotonic() - self._began, done - self._before, total - done)
        note = f"{len(self._ended)}/{len(self._jobs)}" + (f"  {clock(left)} left" if left else "")
        self._bar.update(self._task, completed=done, note=note)
        return self._bar


def _said(folder: Path) -> str:
    try:
        return result_line(read_summary(folder / SUMMARY), folder)
    except RunDirError as error:
        return str(error)


def _work(job: Job) -> int:
    return job.iterations + PER_RUN
