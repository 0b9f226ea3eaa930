"""Progress of a sweep: a live table of the running cells, and the table of all cells that `sweep status` prints."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table

from espl_bench.cli.commands.compare_display import CompareDisplay, steps_made
from espl_bench.cli.console import plain_table
from espl_bench.errors import RunDirError
from espl_bench.runs.run_dir import SUMMARY
from espl_bench.runs.summary import read_summary
from espl_bench.sweep.grid import Cell
from espl_bench.sweep.journal import LOST, Journal, JournalAttempt, read_attempts
from espl_bench.sweep.processes import Job, JobResult, RunStatus
from espl_bench.sweep.storage import Storage, here
from espl_bench.utils import foreign_files
from espl_bench.utils.formatting import DASH, clock, percent, plain

ROWS = 24
"""Number of cells that the live table shows."""
DAMAGED = "damaged"
STYLES = {"finished": "green", "running": "cyan", "lost": "yellow", "stopped": "yellow", "failed": "red", DAMAGED: "red", "waiting": "dim"}


class SweepDisplay(CompareDisplay):
    """Shows the progress of cells on any machine, and records their attempts in the journal."""

    def __init__(self, console: Console, jobs: list[Job], quiet: bool, storage: Storage, journal: Journal) -> None:
        super().__init__(console, jobs, quiet)
        self._storage = storage
        self._journal = journal
        self._nodes: dict[str, str] = {}
        self._since: dict[str, float] = {}

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the cells that a process is running."""
        return tuple(self._nodes)

    def started(self, job: Job) -> None:
        """Record that a child of this process runs the cell."""
        self.placed(job, here())

    def placed(self, job: Job, node: str) -> None:
        """Record that a process on `node` runs the cell."""
        self._journal.placed(job, node)
        self._nodes[job.name] = node
        self._since.setdefault(job.name, time.monotonic())
        if job not in self._running:
            super().started(job)

    def lost(self, job: Job, reason: str) -> None:
        """Record that the cell's process was lost, and print why."""
        self._journal.lost(job, reason)
        self.said(f"[{self._elapsed()}] {job.name} lost on {self._nodes.pop(job.name)}, continues elsewhere: {reason}", "yellow")

    def ended(self, result: JobResult) -> None:
        """Record that the cell has ended, and fetch its results."""
        if result.fate is RunStatus.FINISHED:
            self._storage.fetch(result.job.name)
        self._nodes.pop(result.job.name, None)
        if result.job not in self._running:  # it was never placed
            self._running.append(result.job)
        self._journal.ended(result)
        super().ended(result)

    def _render(self) -> RenderableType:
        bar = self._advance({job.name: steps_made(job.folder) for job in self._jobs if job not in self._ended})
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for job in self._running[:ROWS]:
            node = self._nodes.get(job.name, "waits for another node")
            since = clock(time.monotonic() - self._since[job.name])
            table.add_row(plain(job.name, "cyan"), f"{steps_made(job.folder)}/{job.iterations}", since, plain(node, "dim"))
        more = len(self._running) - ROWS
        return Group(bar, table, plain(f"and {more} more", "dim")) if more > 0 else Group(bar, table)


@dataclass(frozen=True, slots=True)
class CellState:
    """Progress of one cell."""

    cell: str
    is_: str
    """finished, failed, stopped, damaged, lost (its worker is gone and no other has started), running, or waiting."""
    steps: int
    of: int
    score: float | None
    attempts: tuple[JournalAttempt, ...]
    damage: str = ""
    """Why its summary cannot be read."""

    @property
    def reason(self) -> str:
        """Reason why the last attempt ended, or what is damaged; empty for a finished cell."""
        if self.damage or not self.attempts or self.is_ == "finished":
            return self.damage
        return self.attempts[-1].reason

    def record(self) -> dict[str, Any]:
        """Convert to a JSON object."""
        attempts = [attempt.model_dump(mode="json") for attempt in self.attempts]
        facts = {"cell": self.cell, "state": self.is_, "steps": self.steps, "of": self.of, "score": self.score}
        return {**facts, "reason": self.reason, "attempts": attempts}


def state_of(storage: Storage, cell: Cell) -> CellState:
    """Read a cell's progress from a fetched view. After its driver was killed it counts as running: its end was not recorded."""
    folder = storage.view / cell.name
    attempts = read_attempts(storage, cell.name)
    summary, damage = None, ""
    try:
        summary = read_summary(folder / SUMMARY) if foreign_files.exists(folder / SUMMARY) else None
    except RunDirError as error:
        damage = str(error)
    if damage:
        name = DAMAGED
    elif summary:
        name = "finished"
    elif not attempts:
        name = "waiting"
    else:
        name = attempts[-1].outcome or "running"
    return CellState(cell.name, name, steps_made(folder), cell.config.iterations, summary.score if summary else None, attempts, damage)


def status_table(states: Sequence[CellState]) -> Table:
    """Lay out all cells."""
    table = plain_table("cell", "state", "steps", "score", "attempts", "lost", "node", "reason")
    for state in states:
        last = state.attempts[-1] if state.attempts else None
        table.add_row(
            plain(state.cell),
            plain(state.is_, STYLES[state.is_]),
            f"{state.steps}/{state.of}",
            percent(state.score),
            str(len(state.attempts) or DASH),
            str(sum(attempt.outcome == LOST for attempt in state.attempts) or DASH),
            plain(last.node if last else DASH),
            plain(state.reason),
        )
    return table
