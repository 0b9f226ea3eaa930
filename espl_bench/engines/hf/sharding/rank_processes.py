"""The ranks of a trainer over several devices, from their parent's side: start, ask, end.

A rank is a clean interpreter in a session of its own, so that Ctrl-C at a terminal reaches the run alone, which finishes its iteration.
Each ends as soon as its socket is closed: by `close`, at the parent's exit, or by its death. They meet in a file, and talk to each other
through the loopback device only.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from socket import socketpair
from typing import Any, Final

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.hf.sharding.messages import Answer, Greeting, Opening
from espl_bench.errors import DeviceMemoryError, EngineError, EsplError
from espl_bench.utils.living_folder import LivingFolder, remove_dead
from espl_bench.utils.system import usable_cores
from espl_bench.utils.worker_process import where_our_code_is

GRACE_S: Final = 20.0
"""Seconds for which the other ranks may take to refuse what one has refused, before all are ended."""
SYMPATHY_S: Final = 2.0
"""Seconds for which ranks may take to end because another has: the one that was killed is then named."""
_ERROR: Final = re.compile(r"^(?:\[rank\d+\]: )?([\w.]*(?:Error|Exception)\b.*)$", re.M)
PROGRAM: Final = "espl_bench.engines.hf.sharding.rank"
"""Module that a rank runs."""
_PREFIX: Final = "espl-bench-ranks-"


class RankProcesses:
    """A process for each device. Thread-safe: one action at a time."""

    def __init__(self, model: str, adapter: AdapterSpec, devices: Sequence[str]) -> None:
        """Start the ranks and have them load the model.

        Raises:
            EsplError: what a rank refused, or EngineError if one has died.
        """
        home = Path(tempfile.gettempdir())
        remove_dead(home, _PREFIX)
        self._folder = LivingFolder(home, _PREFIX)
        self._devices = tuple(devices)
        self._lock = threading.Lock()
        self._ended: str | None = None
        """Why there are no ranks any more."""
        self._keeps_log = False
        """True once an error has named the log."""
        number, name = tempfile.mkstemp(prefix="espl-bench-trainer-", suffix=".log")
        self._log = Path(name)
        ranks = [_start(number, device, len(devices)) for device in devices]
        os.close(number)
        self.processes, self._parents = zip(*ranks, strict=True)
        self._end = weakref.finalize(self, _end, os.getpid(), self.processes, self._parents, self._folder)
        meeting = self._folder.path / "meeting"
        try:
            for rank, device in enumerate(devices):
                self._send(rank, Opening(model, adapter, device, rank, len(devices), meeting))
            self.greeting: Greeting = self._answers()[0]
            """What the ranks found out about the model."""
        except EsplError:
            self.close()
            raise

    def ask(self, action: str, *arguments: Any) -> Any:
        """Have every rank do something (`rank.ACTIONS`), and return what all of them return.

        Raises:
            EsplError: what the ranks refused, or EngineError if one has died; then all have been ended.
        """
        with self._lock:
            if self._ended is not None:
                raise EngineError(self._ended)
            for rank in range(len(self._devices)):
                self._send(rank, (action, arguments))
            first, *others = self._answers()
            if any(repr(other) != repr(first) for other in others):
                self._stop("the trainer's devices no longer hold the same adapter; resume the run from its last checkpoint")
                raise EngineError(self._ended)
            return first

    def close(self) -> None:
        """End the ranks. A second call does nothing. The log is deleted, unless an error has named it."""
        self._stop("the trainer is closed")
        if not self._keeps_log:
            self._log.unlink(missing_ok=True)

    def _stop(self, why: str) -> None:
        self._end()
        self._ended = self._ended or why

    def _answers(self) -> list[Any]:
        """Wait for the answer of every rank."""
        results: dict[int, Any] = {}
        refusal: EsplError | None = None
        deadline = float("inf")
        while len(results) < len(self._parents):
            open_ranks = {parent: rank for rank, parent in enumerate(self._parents) if rank not in results}
            ready = wait(list(open_ranks), None if refusal is None else max(0.0, deadline - time.monotonic()))
            if refusal is not None and not ready:
                break
            for parent in ready:
                rank = open_ranks[parent]  # pyright: ignore[reportArgumentType]  # it is one of ours
                answer = self._hear(rank)
                results[rank] = answer.result
                if refusal is None and answer.refusal is not None:
                    refusal, deadline = answer.refusal, time.monotonic() + GRACE_S
            if isinstance(refusal, DeviceMemoryError):
                self._stop(str(refusal))  # the others wait for that rank's part of a layer
                raise refusal
        if refusal is not None:
            if len(results) < len(self._parents):
                self._stop(str(refusal))
            raise refusal
        return [results[rank] for rank in sorted(results)]

    def _send(self, rank: int, message: object) -> None:
        try:
            self._parents[rank].send(message)
        except OSError as error:
            raise self._died(rank) from error

    def _hear(self, rank: int) -> Answer:
        try:
            return self._parents[rank].recv()
        except (EOFError, OSError) as error:
            raise self._died(rank) from error

    def _died(self, rank: int) -> EngineError:
        """End the other ranks, and say what became of one: the first that was killed, else this one."""
        deadline = time.monotonic() + SYMPATHY_S
        while time.monotonic() < deadline and any(process.poll() is None for process in self.processes):
            time.sleep(0.05)
        codes = {each: process.poll() for each, process in enumerate(self.processes)}
        rank, code = next(((each, code) for each, code in codes.items() if code is not None and code < 0), (rank, codes[rank]))
        if code is not None and code < 0:
            how = f"signal {-code}" + (", which is what a system sends that runs out of memory" if code == -signal.SIGKILL else "")
        else:
            how = _reason(self._log) or f"status {code}"
        self._keeps_log = True
        self._stop(
            f"the trainer's process for {self._devices[rank]} (rank {rank}) has ended ({how}); all that it said is in {self._log}; "
            "resume the run from its last checkpoint"
        )
        return EngineError(self._ended)


def _start(log: int, device: str, ranks: int) -> tuple["subprocess.Popen[bytes]", Connection]:
    """Start one rank; return its process and the parent's end of its socket."""
    ours, theirs = socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", PROGRAM, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(device, ranks),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        return process, Connection(ours.detach())


def _environment(device: str, ranks: int) -> Mapping[str, str]:
    """Return the environment of a rank: our own, with our module paths, the loopback device, and its share of the cores."""
    loopback = "lo" if sys.platform == "linux" else "lo0"
    threads = {"OMP_NUM_THREADS": str(max(1, usable_cores() // ranks))} if device == "cpu" else {}
    return {
        **threads,
        **os.environ,
        **where_our_code_is(),
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
    }


def _end(owner: int, processes: Sequence["subprocess.Popen[bytes]"], parents: Sequence[Connection], folder: LivingFolder) -> None:
    if os.getpid() != owner:  # a fork of it
        return
    for process in processes:
        process.kill()
        process.wait()
    for parent in parents:
        parent.close()
    folder.close()


def _reason(log: Path) -> str | None:
    """Return the first error in the ranks' log: later ones are of ranks that it left alone."""
    found = _ERROR.search(log.read_text(encoding="utf-8", errors="replace"))
    return found[1][:400] if found else None
