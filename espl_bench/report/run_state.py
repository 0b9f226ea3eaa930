"""Whether a run has finished, is being written, or was left: a dead run looks like a slow one by its files alone."""

from enum import StrEnum

from espl_bench.analysis.study import RunRecord, stamp
from espl_bench.runs import lock


class RunState(StrEnum):
    """What becomes of a run."""

    FINISHED = "finished"
    RUNNING = "running"
    """A process of this machine holds its lock."""
    STOPPED = "stopped"
    """It has not finished, and no process of this machine writes it. One of another machine may."""


def state_of(record: RunRecord) -> RunState:
    """Tell the state of a run. A lock that cannot be asked counts as free."""
    if record.view.summary is not None:
        return RunState.FINISHED
    try:
        return RunState.RUNNING if lock.is_held(record.run.path) else RunState.STOPPED
    except OSError:
        return RunState.STOPPED


def written_at(record: RunRecord) -> int:
    """Return when something was last written to the run's configuration, logs or summary, in seconds since 1970."""
    return max(time for time, _ in stamp(record.run.path)) // 10**9
