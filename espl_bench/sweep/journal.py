"""Journal of each cell's attempts, as the driver saw them. Written by one process, a small file per cell.

The journal decides nothing: a cell is finished when it has a summary and unfinished otherwise. It records where a cell ran,
how often it was lost, and why it failed.
"""

from datetime import UTC, datetime
from typing import Literal

from pydantic import ValidationError

from espl_bench.errors import RunDirError
from espl_bench.sweep.processes import Job, JobResult
from espl_bench.sweep.storage import ATTEMPTS, Storage
from espl_bench.utils.validation import FrozenRecord

Outcome = Literal["finished", "failed", "stopped", "lost"]
LOST: Outcome = "lost"
NOWHERE = ""
"""Node of an attempt that never fitted on any node."""


class JournalAttempt(FrozenRecord):
    """One process that ran a cell."""

    node: str
    """Machine and process, as in ``node07/4711``."""
    started: datetime
    ended: datetime | None = None
    """None: it is still running, or its driver was killed."""
    outcome: Outcome | None = None
    reason: str = ""


class _AttemptRecord(FrozenRecord):
    format: Literal["espl-bench/attempts/1"] = "espl-bench/attempts/1"
    attempts: tuple[JournalAttempt, ...] = ()


def read_attempts(storage: Storage, cell: str) -> tuple[JournalAttempt, ...]:
    """Read a cell's attempts, oldest first; none if the file is missing or malformed, since it decides nothing."""
    try:
        data = storage.read(_name(cell))
        return _AttemptRecord.model_validate_json(data).attempts if data else ()
    except (ValidationError, RunDirError):
        return ()


class Journal:
    """Records the events of a pool."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.unwritten = ""
        """Why the journal is incomplete; empty if it is whole. It decides nothing, so no cell ends for that."""
        self._attempts: dict[str, tuple[JournalAttempt, ...]] = {}

    def placed(self, job: Job, node: str) -> None:
        """Record that an attempt runs on this machine."""
        self._write(job.name, (*self._earlier(job.name), JournalAttempt(node=node, started=datetime.now(UTC))))

    def lost(self, job: Job, reason: str) -> None:
        """Record that the attempt's process is gone."""
        self._close(job.name, LOST, reason)

    def ended(self, result: JobResult) -> None:
        """Record how the cell ended for this driver."""
        if result.job.name not in self._attempts:  # it could not be placed
            self.placed(result.job, NOWHERE)
        self._close(result.job.name, result.fate.value, result.reason)

    def _earlier(self, cell: str) -> tuple[JournalAttempt, ...]:
        return self._attempts[cell] if cell in self._attempts else read_attempts(self._storage, cell)

    def _close(self, cell: str, outcome: Outcome, reason: str) -> None:
        *earlier, last = self._attempts[cell]
        closed = last.model_copy(update={"ended": datetime.now(UTC), "outcome": outcome, "reason": reason})
        self._write(cell, (*earlier, closed))

    def _write(self, cell: str, attempts: tuple[JournalAttempt, ...]) -> None:
        self._attempts[cell] = attempts
        try:
            self._storage.write(_name(cell), _AttemptRecord(attempts=attempts).model_dump_json(indent=1).encode("utf-8"))
        except RunDirError as error:
            self.unwritten = str(error)


def _name(cell: str) -> str:
    return f"{ATTEMPTS}/{cell}.json"
