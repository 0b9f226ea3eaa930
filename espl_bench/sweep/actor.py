"""The process on a Ray node that runs one cell. One actor per attempt: it ends with it, so nothing is left behind.

The run executes in one thread, and a stop arrives in another. An actor returns how the cell ended instead of raising, so that
only a bug or a lost process is an exception in Ray.
"""

import os
from dataclasses import dataclass

from espl_bench import __version__
from espl_bench.errors import EsplError
from espl_bench.sweep.cell_worker import run_cell
from espl_bench.sweep.grid import BudgetLimits, Cell
from espl_bench.sweep.processes import RunStatus
from espl_bench.sweep.storage import Storage, here
from espl_bench.utils.stop_signal import InterruptedRunError, StopSignal


@dataclass(frozen=True, slots=True)
class ActorEnding:
    """How an attempt ended, as the actor saw it."""

    fate: RunStatus
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ActorTask:
    """Arguments of one attempt."""

    url: str
    cell: Cell
    limits: BudgetLimits
    directory: str
    """The driver's working directory: relative names of models and data mean the same on every node that has it."""
    version: str
    """The driver's version of espl-bench."""


class CellActor:
    """Turned into an actor by ray_pool.py; knows nothing of Ray."""

    def __init__(self, task: ActorTask) -> None:
        self._task = task
        self._stop = StopSignal()
        if os.path.isdir(task.directory):
            os.chdir(task.directory)

    def where(self) -> str:
        """Return machine and process, as in ``node07/4711``: an answer means that the cell has been placed."""
        return here()

    def run(self) -> ActorEnding:
        """Run the cell."""
        task = self._task
        if task.version != __version__:
            return ActorEnding(
                RunStatus.FAILED, f"this node has espl-bench {__version__}, the driver {task.version}; install the same on all nodes"
            )
        try:
            run_cell(Storage.open(task.url), task.cell, task.limits, self._stop)
        except InterruptedRunError as stopped:
            return ActorEnding(RunStatus.STOPPED, f"stopped after step {stopped.step}")
        except EsplError as error:
            return ActorEnding(RunStatus.STOPPED if self._stop.wanted else RunStatus.FAILED, " ".join(str(error).split()))
        return ActorEnding(RunStatus.FINISHED)

    def stop(self) -> None:
        """Ask the run to save after the current iteration."""
        self._stop.wanted = True
