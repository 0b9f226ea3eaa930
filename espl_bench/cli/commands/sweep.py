"""`sweep`: run a grid's cells on a Ray cluster or one after another on this machine, then make the table of `compare`."""

import importlib.util
import json
import shlex
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from espl_bench.cli.commands import batch
from espl_bench.cli.commands.batch import TABLES, BatchPlan
from espl_bench.cli.commands.provide import FETCH, Provision, absences, provide_all, tell_defaults
from espl_bench.cli.commands.sweep_display import CellState, SweepDisplay, state_of, status_table
from espl_bench.cli.console import err_console, out_console, plain_table, write_json
from espl_bench.config.contacts import Contact, contacts_of
from espl_bench.errors import RunDirError, UsageError
from espl_bench.runs.consent import NO_CONSENT, Consent, Origin, confirm
from espl_bench.runs.run_dir import CONFIG, SUMMARY, RunDir
from espl_bench.sweep.grid import Cell, labelled, make_cells, read_grid
from espl_bench.sweep.journal import Journal
from espl_bench.sweep.processes import Job, JobResult, run_all
from espl_bench.sweep.storage import SWEEP, Storage, SweepFile
from espl_bench.utils import foreign_files, named_files
from espl_bench.utils.formatting import plain

REFRESH_S = 10.0
"""Seconds between reads of remote storage for the progress of running cells."""


@dataclass(frozen=True, slots=True)
class Means:
    """How the cells are run."""

    address: str | None
    """Address of a Ray cluster."""
    jobs: int | None
    """Cells at a time without Ray; None: use Ray if it is installed."""
    growing: bool

    @property
    def ray(self) -> bool:
        """True if Ray runs the cells. Raises UsageError if a cluster is named but cannot be used."""
        installed = importlib.util.find_spec("ray") is not None
        if self.address is not None and not installed:
            raise UsageError("--address needs Ray; install it with: pip install 'espl-bench[ray]'")
        if self.address is not None and self.jobs is not None:
            raise UsageError("--jobs runs cells without Ray; omit --jobs or --address")
        return installed and self.jobs is None


def list_cells(grid: Path, label: str | None, as_json: bool) -> None:
    """Print every cell with the resources it takes, and what this machine lacks for them. Raises UsageError for an invalid grid."""
    cells = make_cells(labelled(read_grid(grid), label))
    if as_json:
        write_json(json.dumps([cell.model_dump(mode="json") for cell in cells], indent=2) + "\n")
        return
    table = plain_table("cell", "model", "steps", "cores", "GPUs")
    for cell in cells:
        config, resources = cell.config, cell.resources
        amounts = (f"{config.iterations:,}", f"{resources.cpus:g}", f"{resources.gpus:g}")
        table.add_row(plain(cell.name), plain(config.model), *map(plain, amounts))
    console = out_console()
    console.print(table)
    console.print(plain(f"{len(cells)} cells", "bold"))
    if missing := dict.fromkeys(thing for cell in cells for thing in absences(cell.config)):
        console.print(plain(f"not on this machine: {', '.join(missing)}; fetched before the first cell starts", "yellow"), soft_wrap=True)


def run(
    grid: Path,
    out: str | None,
    label: str | None,
    means: Means,
    quiet: bool,
    as_json: bool,
    consent: Consent = NO_CONSENT,
    provision: Provision = FETCH,
) -> int:
    """Run a grid, or continue it; returns the exit code.

    Raises UsageError for an invalid grid, or one whose contacts are not confirmed, before anything is started; EsplError when stopped by a
    signal, after the cells have saved.
    """
    read = labelled(read_grid(grid), label)
    location = out or read.out
    if location is None:
        raise UsageError(f'no folder is named for the runs; use --out PLACE, or put out = "PLACE" into {grid}')
    cells = make_cells(read)
    contacts = _contacts(cells, location if out is None else None)
    confirm(
        [(Origin(str(grid.resolve()), named_files.read_named(grid)), contacts)], consent, f"espl-bench sweep run {shlex.quote(str(grid))}"
    )
    if not quiet and means.address is None:
        tell_defaults((cell.config for cell in cells), {*read.options, *(["model"] if read.models else [])})
    return _carry_out(Storage.open(location), SweepFile.of(read, cells), means, quiet, as_json, provision)


def resume(location: str, means: Means, quiet: bool, as_json: bool, consent: Consent = NO_CONSENT, provision: Provision = FETCH) -> int:
    """Resume the sweep stored at `location`. Raises as `run` does."""
    storage = Storage.open(location)
    sweep = storage.sweep()
    confirm([(_origin(storage, sweep), _contacts(sweep.cells))], consent, f"espl-bench sweep resume {shlex.quote(location)}")
    return _carry_out(storage, sweep, means, quiet, as_json, provision)


def _origin(storage: Storage, sweep: SweepFile) -> Origin:
    return Origin(f"{storage.url}/{SWEEP}", sweep.model_dump_json().encode("utf-8"))


def _contacts(cells: Sequence[Cell], out: str | None = None) -> list[Contact]:
    """Return what the cells connect to, and the storage if a file names it and it is elsewhere."""
    storage = [Contact(out, "the storage of the runs")] if out is not None and ("://" in out or "::" in out) else []
    return [*storage, *dict.fromkeys(contact for cell in cells for contact in contacts_of(cell.config))]


def show_status(location: str, as_json: bool) -> None:
    """Print the progress of every cell. Raises UsageError if there is no sweep at `location`."""
    storage = Storage.open(location)
    cells = storage.sweep().cells
    storage.fetch_all(cell.name for cell in cells)
    states = [state_of(storage, cell) for cell in cells]
    if as_json:
        write_json(json.dumps([state.record() for state in states], indent=2) + "\n")
    else:
        console = out_console()
        console.print(status_table(states))
        console.print(plain(_tally(states), "bold"))


def _tally(states: Sequence[CellState]) -> str:
    counts: dict[str, int] = {}
    for state in states:
        counts[state.is_] = counts.get(state.is_, 0) + 1
    return f"{len(states)} cells: " + ", ".join(f"{number} {name}" for name, number in counts.items())


def _carry_out(storage: Storage, sweep: SweepFile, means: Means, quiet: bool, as_json: bool, provision: Provision) -> int:
    on_ray = means.ray
    cells = {cell.name: cell for cell in sweep.cells}
    storage.fetch_all(cells)
    damage = {name: fault for name in cells if (fault := batch.damage_of(storage.view / name))}
    for name, cell in cells.items():
        if name not in damage and foreign_files.exists(storage.view / name / CONFIG):
            RunDir.open(storage.view / name).refuse_changes(cell.config)
    if means.address is None:  # the cells run on this machine
        unfinished = {name: cell for name, cell in cells.items() if not foreign_files.exists(storage.view / name / SUMMARY)}
        provide_all(((f"cell {name}", cell.config) for name, cell in unfinished.items() if name not in damage), provision)
    jobs = tuple(_job(storage, cell) for name, cell in cells.items() if name not in damage)
    plan = BatchPlan(storage.view, jobs, tuple(damage.values()), "" if storage.is_folder else storage.url)
    journal = Journal(storage)
    display = SweepDisplay(err_console(), plan.waiting, quiet, storage, journal)

    def execute(jobs: Sequence[Job]) -> Sequence[JobResult]:
        if not jobs:
            return ()
        with _refreshed(storage, display):
            return _on_ray(storage, sweep, means, jobs, cells, display) if on_ray else run_all(jobs, means.jobs or 1, display)

    with storage.kept_for_one_driver():
        storage.write(SWEEP, sweep.model_dump_json(indent=1).encode("utf-8"))
        _origin(storage, sweep).remember(_contacts(sweep.cells))
        try:
            code = batch.run_batch(plan, execute, display, as_json)
        finally:
            if journal.unwritten:
                err_console().print(plain(f"the journal of attempts is incomplete: {journal.unwritten}", "yellow"), soft_wrap=True)
    if not storage.is_folder:
        for name in TABLES:
            storage.write(name, foreign_files.read_bytes(storage.view / name))
    return code


def _on_ray(
    storage: Storage, sweep: SweepFile, means: Means, jobs: Sequence[Job], cells: Mapping[str, Cell], display: SweepDisplay
) -> Sequence[JobResult]:
    from espl_bench.sweep.ray_pool import RayPool  # an extra

    pool = RayPool(storage, sweep.limits, sweep.retries, lambda job: storage.committed(job.name), means.address, means.growing)
    return pool.run(jobs, cells, display)


def _job(storage: Storage, cell: Cell) -> Job:
    """Make the cell a process on this machine, for use without Ray."""
    command = (sys.executable, "-m", "espl_bench.sweep.cell_worker", storage.url, cell.name)
    command = (*command, *Consent.to(contacts_of(cell.config)).flags())
    return Job(storage.view / cell.name, command, cell.config.iterations)


@contextmanager
def _refreshed(storage: Storage, display: SweepDisplay) -> Generator[None]:
    """Keep the local view of running cells up to date while they are stored elsewhere."""
    if storage.is_folder:
        yield
        return
    stop = threading.Event()

    def refresh() -> None:
        while not stop.wait(REFRESH_S):
            with suppress(RunDirError):  # read again at the next refresh
                storage.fetch_all(display.running)

    thread = threading.Thread(target=refresh, name="view", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
