"""Run cells on a Ray cluster: placed as their resources allow, resumed elsewhere when a worker or node dies, stopped on request.

Every attempt is an actor of its own (actor.py). This module handles retries instead of Ray, because a lost attempt is only worth
another one as long as the cell makes progress: `retries` counts losses in a row without a new checkpoint between them. All cells
are submitted to Ray at once, long ones first, and Ray's scheduler packs them; only this process decides what runs again, and a
cell that has its summary is never submitted.
"""

# Ray is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray
from ray.exceptions import NodeDiedError, RayActorError, RayTaskError, RuntimeEnvSetupError, WorkerCrashedError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from espl_bench import __version__
from espl_bench.errors import EsplError, UsageError
from espl_bench.sweep.actor import ActorEnding, ActorTask, CellActor
from espl_bench.sweep.grid import BudgetLimits, Cell
from espl_bench.sweep.processes import Job, JobResult, RunStatus
from espl_bench.sweep.resources import CPU, GPU, SHARE, Bundle
from espl_bench.sweep.storage import Storage
from espl_bench.utils.stop_signal import stop_signals
from espl_bench.utils.terminal_text import clean

LOOK_S = 20.0
"""Seconds between checks of the nodes while a cell waits for room."""
WORKER_SHARE = "VLLM_RAY_PER_WORKER_GPUS"
"""Environment variable with the share of a device that each worker of vLLM's Ray executor takes."""
CONNECT_S = 10.0
"""Seconds in which something must listen at a cluster's address; Ray itself would try for minutes."""
START = "start one with `ray start --head`, or leave --address out"
WITHOUT = "fix what it names, or run the cells without Ray: --jobs 1"
LOST = (RayActorError, NodeDiedError, WorkerCrashedError)
"""The attempt's process or node is gone, or cannot be reached."""


class ClusterWatcher(Protocol):
    """Is notified when cells are placed, lost, and ended."""

    def placed(self, job: Job, node: str) -> None:
        """Handle the start of a cell's process on this machine."""
        ...

    def lost(self, job: Job, reason: str) -> None:
        """Handle the loss of the process; the cell waits for another."""
        ...

    def ended(self, result: JobResult) -> None:
        """Handle the end of the cell; it may never have been placed."""
        ...


@dataclass(frozen=True)
class RayPool:
    """Settings for running cells on a cluster."""

    storage: Storage
    limits: BudgetLimits
    retries: int
    progress: Callable[[Job], int]
    """Newest step that a resume of a cell could start from, approximately: an increase means that the cell makes progress."""
    address: str | None = None
    """Address of a running cluster; None: Ray is started on this machine."""
    growing: bool = False
    """True if nodes may still join the cluster: cells that fit none then wait."""

    def run(self, jobs: Sequence[Job], cells: Mapping[str, Cell], watcher: ClusterWatcher) -> list[JobResult]:
        """Run every job. Return the results in order of ending, of all jobs unless stopped. Raises UsageError without a cluster."""
        self._connect()
        try:
            return asyncio.run(_Round(self, cells, watcher).run(jobs))
        finally:
            ray.shutdown()

    def _connect(self) -> None:
        if ray.is_initialized():
            raise EsplError("this process is already connected to a cluster; run one sweep at a time")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports
        own: dict[str, Any] = {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        where: dict[str, Any] = own if self.address is None else {"address": self.address}
        if self.address is not None:
            _require_listening(self.address)
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
        except Exception as error:  # of many kinds, even bare ones: a socket's path, a port, a node that starts too slowly
            ray.shutdown()
            if self.address is None:
                raise EsplError(f"Ray does not start on this machine ({_line(error)}); {WITHOUT}") from error
            raise UsageError(f"there is no Ray cluster at {self.address} ({_line(error)}); {START}") from error


@dataclass
class _Attempt:
    """A process that was requested."""

    actor: Any
    group: PlacementGroup | None
    placed: bool = False


@dataclass
class _Round:
    """One call of `RayPool.run`."""

    pool: RayPool
    cells: Mapping[str, Cell]
    watcher: ClusterWatcher
    attempts: dict[str, _Attempt] = field(default_factory=dict[str, _Attempt])
    begun: set[str] = field(default_factory=set[str])
    stops: int = 0
    results: list[JobResult] = field(default_factory=list[JobResult])

    async def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """Submit all jobs at once; Ray decides which run at a time."""
        loop = asyncio.get_running_loop()
        stopping = stop_signals()
        for number in stopping:
            loop.add_signal_handler(number, self._stop)
        try:
            await asyncio.gather(*(self._see_through(job) for job in sorted(jobs, key=lambda job: -self.cells[job.name].work)))
        finally:
            for number in stopping:
                loop.remove_signal_handler(number)
        return self.results

    async def _see_through(self, job: Job) -> None:
        """Run one cell until it ends in some way."""
        cell = self.cells[job.name]
        losses, before = 0, None
        while not self.stops:
            ending = await self._attempt(job, cell)
            if ending is not None:
                self._end(JobResult(job, ending.fate, ending.reason))
                return
            if self.stops and job.name in self.begun:
                self._end(JobResult(job, RunStatus.STOPPED, "ended at once, the last checkpoint is kept"))
            if self.stops:
                return
            now = await asyncio.to_thread(self.pool.progress, job)
            losses = 1 if before is not None and now > before else losses + 1
            before = now
            if losses > self.pool.retries:
                self._end(JobResult(job, RunStatus.FAILED, f"lost {losses} times in a row without a new checkpoint; see {job.log}"))
                return

    async def _attempt(self, job: Job, cell: Cell) -> ActorEnding | None:
        """Return how the cell ended; None if its process was lost, or never placed because of a stop."""
        if (reason := self._lacking(cell)) is not None:
            return ActorEnding(RunStatus.FAILED, reason)
        task = ActorTask(self.pool.storage.url, cell, self.pool.limits, os.getcwd(), __version__)
        attempt = _place(task)
        self.attempts[job.name] = attempt
        try:
            placing = asyncio.wrap_future(attempt.actor.where.remote().future())
            while not (await asyncio.wait({placing}, timeout=LOOK_S))[0]:
                if (reason := self._lacking(cell)) is not None:  # the only node that could hold it is gone
                    placing.cancel()
                    return ActorEnding(RunStatus.FAILED, reason)
            node = placing.result()
            attempt.placed = True
            self.begun.add(job.name)
            self.watcher.placed(job, node)
            if self.stops:
                attempt.actor.stop.remote()
            return await attempt.actor.run.remote()
        except LOST as error:
            if attempt.placed:
                self.watcher.lost(job, _line(error))
            return None
        except RayTaskError as error:  # a bug, or an error of a library: the traceback is the cell's log
            await asyncio.to_thread(self.pool.storage.write, job.log.name, clean(str(error)).encode("utf-8", "backslashreplace"))
            return ActorEnding(RunStatus.FAILED, _line(error.cause))
        except RuntimeEnvSetupError as error:
            return ActorEnding(RunStatus.FAILED, _line(error))
        finally:
            del self.attempts[job.name]
            ray.kill(attempt.actor)
            if attempt.group is not None:
                remove_placement_group(attempt.group)

    def _lacking(self, cell: Cell) -> str | None:
        """Explain why no living node can hold the cell, unless others may join; None if one can."""
        return None if self.pool.growing else cell.resources.lacking(_nodes())

    def _end(self, result: JobResult) -> None:
        self.results.append(result)
        self.watcher.ended(result)

    def _stop(self) -> None:
        """Let cells save and start no others, the first time; end their processes, the second time."""
        self.stops += 1
        for attempt in self.attempts.values():
            if attempt.placed and self.stops == 1:
                attempt.actor.stop.remote()
            else:
                ray.kill(attempt.actor)


def _place(task: ActorTask) -> _Attempt:
    """Request a process. Two threads: one for the run, and one in which a stop can arrive."""
    resources = task.cell.resources
    options: dict[str, Any] = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "max_concurrency": 2, "max_restarts": 0}
    group = None
    if resources.needs_group():
        group = placement_group(resources.bundles(), strategy="PACK" if resources.over_nodes else "STRICT_PACK")
        options["num_gpus"] = resources.own_share
        if resources.over_nodes:
            options["runtime_env"] = {"env_vars": {WORKER_SHARE: str(SHARE)}}
        options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(group, 0, placement_group_capture_child_tasks=True)
    return _Attempt(ray.remote(CellActor).options(**options).remote(task), group)


def _require_listening(address: str) -> None:
    """Raise UsageError if nothing listens at ``HOST:PORT``. Other forms, such as ``auto``, are left to Ray."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"there is no Ray cluster at {address} ({_line(error)}); {START}") from error


def _nodes() -> list[Bundle]:
    """Return the total resources of each living node."""
    return [{name: node["Resources"].get(name, 0.0) for name in (CPU, GPU)} for node in ray.nodes() if node["Alive"]]


def _line(error: BaseException) -> str:
    """Return an error's type and its last non-empty line."""
    lines = [line.strip() for line in clean(str(error)).split("\n") if line.strip()]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
