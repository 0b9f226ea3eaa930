"""The process on a Ray node that carries one cell out. One actor, one attempt: it ends with it, so nothing is left behind.

The run goes on in one thread, and a stop arrives in another. What a run may not do is tell in types: an actor returns how
the cell ended, so that only a bug or a lost process is an exception of Ray's.
"""

import os
from dataclasses import dataclass

from espl_bench import __version__
from espl_bench.errors import EsplError
from espl_bench.sweep.cell_worker import carry_out
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
    """What an actor is told."""

    url: str
    cell: Cell
    limits: BudgetLimits
    directory: str
    """The driver's working directory: relative names of models and data mean the same on every node that has it."""
    version: str
    """The driver's."""


class CellActor:
    """Made into an actor by ray_pool.py; nothing here knows Ray."""

    def __init__(self, errand: ActorTask) -> None:
        """Nothing is loaded yet."""
        self._errand = errand
        self._stop = StopSignal()
        if os.path.isdir(errand.directory):
            os.chdir(errand.directory)

    def where(self) -> str:
        """Machine and process, as in ``node07/4711``: the answer is the sign that the cell has been placed."""
        return here()

    def run(self) -> ActorEnding:
        """Carry the cell out."""
        errand = self._errand
        if errand.version != __version__:
            return ActorEnding(
                RunStatus.FAILED, f"this node has espl-bench {__version__}, the driver {errand.version}; install the same on all nodes"
            )
        try:
            carry_out(Storage.open(errand.url), errand.cell, errand.limits, self._stop)
        except InterruptedRunError as stopped:
            return ActorEnding(RunStatus.STOPPED, f"stopped after step {stopped.step}")
        except EsplError as error:
            return ActorEnding(RunStatus.STOPPED if self._stop.wanted else RunStatus.FAILED, " ".join(str(error).split()))
        return ActorEnding(RunStatus.FINISHED)

    def stop(self) -> None:
        """Ask the run to save after the iteration that it is in."""
        self._stop.wanted = True
