"""Run one cell on one node: start it, resume it or find it finished, in the sweep's folder or on local disk with a mirror.

Also a program, `python -m espl_bench.sweep.cell_worker SWEEP CELL`, for running cells one after another without Ray.
"""

import os
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from espl_bench.accounting.cost_tracker import Budget
from espl_bench.config.contacts import contacts_of
from espl_bench.engines.engine import Engine
from espl_bench.errors import EsplError, RunTakenError, UsageError
from espl_bench.monitoring.reporter import Reporter
from espl_bench.runs.consent import Consent
from espl_bench.runs.run_dir import CONFIG, SUMMARY
from espl_bench.runs.summary import Summary, read_summary
from espl_bench.sweep.grid import BudgetLimits, Cell
from espl_bench.sweep.mirror import Mirror
from espl_bench.sweep.processes import THREADS
from espl_bench.sweep.storage import Storage
from espl_bench.utils import foreign_files
from espl_bench.utils.stop_signal import StopSignal, raising

PATIENCE_S = 120.0
"""Seconds to wait for a predecessor's lock: a lost node holds it until its processes, or its lease, end."""


def run_cell(
    storage: Storage,
    cell: Cell,
    limits: BudgetLimits,
    stop: StopSignal,
    reporter: Reporter | None = None,
    engine: Engine | None = None,
) -> Summary:
    """Bring a cell to its end from its current state; a cell that has a summary is not touched.

    With `engine`, the cell runs with this one instead of the configuration's.
    Raises EsplError if it cannot run, InterruptedRunError after a stop; the last checkpoint is then in the storage.
    """
    os.environ[THREADS] = str(cell.resources.threads)  # before torch is imported
    budget = Budget(limits.max_cost, limits.max_tokens_total, Path(limits.prices) if limits.prices else None)
    with _local_folder(storage, cell.name) as folder:
        if foreign_files.exists(folder / SUMMARY):
            return read_summary(folder / SUMMARY)
        return _when_free(cell, folder, budget, stop, reporter, engine)


@contextmanager
def _local_folder(storage: Storage, cell: str) -> Generator[Path]:
    """Yield the run's folder on this machine."""
    if storage.is_folder:
        yield storage.view / cell
        return
    scratch = Path(mkdtemp(prefix="espl-bench-"))
    try:
        folder = scratch / cell
        folder.mkdir()
        mirror = Mirror(storage, cell, folder)
        mirror.claim()
        mirror.pull()
        with mirror.following():
            yield folder
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _when_free(cell: Cell, folder: Path, budget: Budget, stop: StopSignal, reporter: Reporter | None, engine: Engine | None) -> Summary:
    """Run or resume as soon as no other process writes the folder."""
    from espl_bench import runner  # loads torch

    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if foreign_files.exists(folder / CONFIG):
                return runner.resume(folder, reporter=reporter, engine=engine, wanted=cell.config, budget=budget, stop=stop)
            return runner.run(cell.config, folder, reporter=reporter, engine=engine, budget=budget, stop=stop)
        except RunTakenError:
            if stop.wanted or time.monotonic() > deadline:
                raise
            time.sleep(1)
            if foreign_files.exists(folder / SUMMARY):
                return read_summary(folder / SUMMARY)


def main(url: str, name: str, *confirmed: str) -> int:
    """Run one cell of a sweep; return the exit code. Errors are one line on stderr.

    `confirmed` are the ``--contact`` and ``--send-key`` that the driver's user confirmed: the file of the sweep is read again here.
    """
    try:
        storage = Storage.open(url)
        sweep = storage.sweep()
        cell = next((cell for cell in sweep.cells if cell.name == name), None)
        if cell is None:
            raise UsageError(f"{url} has no cell {name}")
        consent = Consent.parse(confirmed)
        if other := [str(contact) for contact in contacts_of(cell.config) if not consent.covers(contact)]:
            raise UsageError(
                f"{url} has changed since it was confirmed: cell {name} would connect to {'; '.join(other)}; repeat the command"
            )
        run_cell(storage, cell, sweep.limits, StopSignal())
    except EsplError as error:
        sys.stderr.write(f"espl-bench: {' '.join(str(error).split())}\n")
        return 1
    except KeyboardInterrupt:  # outside the iterations, where the loop does not take the signal
        sys.stderr.write("espl-bench: interrupted, the last checkpoint is kept\n")
        return 1
    return 0


if __name__ == "__main__":
    with raising():
        code = main(*sys.argv[1:])
    sys.exit(code)
