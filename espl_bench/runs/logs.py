"""The append-only logs of a run: their names, their sizes, and truncation to a committed size."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from espl_bench.errors import RunDirError
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.jsonl import RESTORE


class Log(StrEnum):
    """The logs of a run."""

    METRICS = "metrics"
    """Numbers of each iteration that depend on the configuration alone: no seconds, so that they reproduce."""
    TIMING = "timing"
    """Seconds and tokens per second of each iteration."""
    POPULATION = "population"
    """Events: a prompt was born, rated, or rejected."""
    EVALUATIONS = "evaluations"
    """Scores during the run and at its end."""

    def path(self, run: Path) -> Path:
        """Return the file inside a run directory."""
        return run / f"{self}.jsonl"


def sizes(run: Path) -> dict[Log, int]:
    """Return the current size of each log in bytes; 0 for one that does not exist."""
    return {log: foreign_files.size(log.path(run)) for log in Log}


def check(run: Path, committed: Mapping[Log, int]) -> None:
    """Raise RunDirError if a log is shorter than its committed size."""
    now = sizes(run)
    for log, size in committed.items():
        if now[log] < size:
            lost = f"{log.path(run)} has {now[log]} bytes, but {size} were committed"
            raise RunDirError(f"{lost}; {RESTORE}, or start a new run with another --out")


def cut(run: Path, committed: Mapping[Log, int]) -> None:
    """Truncate every log to its committed size."""
    now = sizes(run)
    for log, size in committed.items():
        if now[log] > size or not foreign_files.exists(log.path(run)):
            atomic_io.truncate(log.path(run), size)
