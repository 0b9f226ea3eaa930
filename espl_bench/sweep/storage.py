"""Storage of a sweep: a folder that every node shares, or any location that fsspec reaches (s3://, gs://, hdfs://, …).

    sweep.json                 the resolved cells
    attempts/CELL.json         where a cell ran, and how each attempt ended; written by the driver alone
    CELL/                      its run directory, summary.json last
    CELL.log                   output of a failing cell
    table.md  table.json

In a folder, runs are written in place. Elsewhere each is written on its node's disk and mirrored (mirror.py), and the sweep is
read through a `view`: a local folder with the small files of each run as last fetched.
"""

import os
import re
import socket
from collections import Counter
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import ValidationError, field_validator

from espl_bench.errors import RunDirError, RunTakenError, UsageError
from espl_bench.runs import lock
from espl_bench.runs.checkpoints import RECORD
from espl_bench.runs.logs import Log
from espl_bench.runs.run_dir import CONFIG, PROVENANCE, SUMMARY
from espl_bench.sweep.grid import BudgetLimits, Cell, Grid
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.disk_refusals import unwritten, writing
from espl_bench.utils.foreign_json import InvalidJsonError, parse_record
from espl_bench.utils.validation import FrozenRecord, first_fault

SWEEP = "sweep.json"
ATTEMPTS = "attempts"
DRIVER = ".driver"
READS_AT_ONCE = 16
VIEWED = (CONFIG, PROVENANCE, SUMMARY)
"""Files of a run that are fetched once."""


class SweepFile(FrozenRecord):
    """The content of sweep.json: everything that a resume needs."""

    format: Literal["espl-bench/sweep/1"] = "espl-bench/sweep/1"
    retries: int
    limits: BudgetLimits
    cells: tuple[Cell, ...]

    @field_validator("cells")
    @classmethod
    def _have_names_of_their_own(cls, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        names = Counter(cell.name for cell in cells)
        if twice := next((name for name, times in names.items() if times > 1), None):
            raise ValueError(f"two cells are called {twice}")
        return cells

    @classmethod
    def of(cls, grid: Grid, cells: tuple[Cell, ...]) -> "SweepFile":
        """Make it from a grid."""
        return cls(retries=grid.retries, limits=grid.limits, cells=cells)


@dataclass(frozen=True)
class Storage:
    """Storage of one sweep."""

    url: str
    """Valid in every process: for a folder, its absolute path."""
    fs: Any
    """An fsspec file system."""
    root: str
    """Path of the sweep's folder in `fs`."""
    is_folder: bool
    """Whether runs are written where they lie."""

    @classmethod
    def open(cls, url: str) -> "Storage":
        """Open a path or URL; nothing is written. Raises UsageError for a protocol that is unknown or not installed."""
        try:
            core, local = import_module("fsspec.core"), import_module("fsspec.implementations.local")
        except ModuleNotFoundError as error:
            raise UsageError(f"a sweep, in a folder too, needs {error.name}; install it with: pip install 'espl-bench[sweep]'") from error
        try:
            fs, root = core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise UsageError(f"{url} cannot be used as storage: {error}; name a folder or a URL that fsspec knows") from error
        root = root.rstrip("/")
        is_folder = isinstance(fs, local.LocalFileSystem)
        return cls(root if is_folder else url, fs, root, is_folder)

    @cached_property
    def view(self) -> Path:
        """Local folder of the sweep: itself, or what has been fetched of it."""
        return Path(self.root) if self.is_folder else Path(self._fetched.name)

    @cached_property
    def _fetched(self) -> TemporaryDirectory[str]:
        """Temporary folder, removed with this object."""
        return TemporaryDirectory(prefix="espl-bench-view-")

    def path_of(self, name: str) -> str:
        """Return the path in `fs` of a file or folder of the sweep."""
        return f"{self.root}/{name}" if self.root else name

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file. In a folder, readers see the old bytes or the new."""
        path = self.path_of(name)
        try:
            if self.is_folder:
                Path(self.root).mkdir(parents=True, exist_ok=True)
                if (parent := Path(path).parent) != Path(self.root):
                    foreign_files.make_folder(parent, Path(self.root))
                atomic_io.write_atomic(Path(path), [data], Path(self.root))
            else:
                self.fs.makedirs(path.rpartition("/")[0] or self.root, exist_ok=True)
                self.fs.pipe_file(path, data)
        except OSError as error:
            raise RunDirError(f"{unwritten(f'{self.url}/{name}', error)}, or choose another --out") from error

    def read(self, name: str) -> bytes | None:
        """Read a small file; None if there is none."""
        try:
            if self.is_folder:
                return foreign_files.read_record(Path(self.path_of(name)), Path(self.root))
            return self.fs.cat_file(self.path_of(name))
        except FileNotFoundError:
            return None
        except OSError as error:
            if self.is_folder:
                raise RunDirError(f"{self.url}/{name} cannot be read ({error.strerror or error}); restore it from a copy") from error
            raise RunDirError(f"{self.url} cannot be read ({error}); try again when it can be reached") from error

    def fetch_all(self, cells: Iterable[str]) -> None:
        """Call `fetch` for several cells in parallel: each read of remote storage is a wait."""
        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            for _ in pool.map(self.fetch, cells):
                pass

    def fetch(self, cell: str) -> None:
        """Bring the view of a cell up to date. Raises RunDirError if the storage cannot be reached."""
        if self.is_folder:
            return
        for name in (*VIEWED, Log.METRICS.path(Path()).name):
            local = self.view / cell / name
            if name in VIEWED and foreign_files.exists(local):
                continue
            data = self.read(f"{cell}/{name}")
            if data is not None:
                with writing(local, "repeat the command: it is a copy of what is stored"):
                    local.parent.mkdir(parents=True, exist_ok=True)
                    atomic_io.write_atomic(local, [data])

    @contextmanager
    def kept_for_one_driver(self) -> Generator[None]:
        """Refuse a second driver: two would hand out the same cells. Raises RunTakenError naming the one there is.

        In a folder, a kernel lock shows whether the other is alive. Elsewhere a marker file names it; a marker whose process is gone is
        ignored on the same machine, and has to be deleted by hand on another.
        """
        if self.is_folder:
            with writing(self.view, "repeat the command, or choose another --out"):
                self.view.mkdir(parents=True, exist_ok=True)
            with lock.held(self.view, " or choose another --out"):
                yield
            return
        data = self.read(DRIVER)
        if data is not None:
            host, _, rest = data.decode("utf-8", "replace").partition("/")
            pid, _, space = rest.partition("/")
            if host != socket.gethostname() or space != _process_space() or not re.fullmatch("[0-9]{1,9}", pid) or _lives(int(pid)):
                gone = f"if it is gone, delete {self.url}/{DRIVER}"
                raise RunTakenError(f"{self.url} is being run by process {pid} on {host}; wait for it, or, {gone}")
        self.write(DRIVER, f"{here()}/{_process_space()}".encode())
        try:
            yield
        finally:
            self.fs.rm_file(self.path_of(DRIVER))

    def committed(self, cell: str) -> int:
        """Return the newest step from which a cell can be resumed; -1 if there is none."""
        self.fs.invalidate_cache()  # of listings: others write there
        try:
            records: list[str] = self.fs.glob(self.path_of(f"{cell}/checkpoints/step_*/{RECORD}"))
        except OSError:
            return -1
        return max((int(name.split("/")[-2].removeprefix("step_")) for name in records), default=-1)

    def sweep(self) -> SweepFile:
        """Read the sweep. Raises UsageError if there is none, or the file is damaged."""
        data = self.read(SWEEP)
        if data is None:
            raise UsageError(f"{self.url} holds no sweep (it has no {SWEEP}); name the --out of `espl-bench sweep run`")
        try:
            return parse_record(SweepFile, data)
        except ValidationError as error:
            raise UsageError(f"{self.url}/{SWEEP} is not a sweep of this version: {first_fault(error)}; run the grid again") from error
        except (InvalidJsonError, UsageError) as error:
            raise UsageError(f"{self.url}/{SWEEP} is not a sweep: {error}; run the grid again") from error


def here() -> str:
    """Return this machine and process, as in ``node07/4711``."""
    return f"{socket.gethostname()}/{os.getpid()}"


def _process_space() -> str:
    """Return what tells process ids of this machine from those of a container on it, or of a start before; empty where unknown."""
    try:
        boot = foreign_files.read_bytes(Path("/proc/sys/kernel/random/boot_id")).decode("ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
