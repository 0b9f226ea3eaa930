"""Index of a run's stored rollouts for `espl-bench view`: each file is read whole once, and then only in the parts that are viewed.

A run of many iterations has hundreds of megabytes of rollouts, and a page that follows it requests their list again after
every iteration. The columns of a file stay in memory, with the offsets of its lines. A file is replaced whole or not at all
(`atomic_io.write_atomic`), so an unchanged inode, time and size mean unchanged content.
"""

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from espl_bench.errors import reading
from espl_bench.learning.advantages import Baseline
from espl_bench.report.rollout_pages import PIECE, Index, Listed, RolloutFile, piece_name, rollout_files, sample_of
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import RunDir
from espl_bench.utils import foreign_files, jsonl


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """Index of one file."""

    stamp: tuple[int, int, int]
    """Inode, time and size when the file was read."""
    listed: Listed
    starts: tuple[int, ...]
    """Offset of each line in bytes, and the end of the last one."""


class RolloutIndex:
    """Rollouts of one run. Not thread-safe."""

    def __init__(self, run: RunDir, baseline: Baseline) -> None:
        """Start with no file read; `baseline` is the one of the run's method."""
        self._run = run
        self._baseline = baseline
        self._files: dict[RolloutFile, IndexedFile] = {}

    def index(self) -> Index:
        """Collect the columns of all rollouts, reading only new and replaced files. Raises RunDirError if one cannot be read."""
        index = Index()
        for file in rollout_files(self._run):
            index.add(self._indexed(file).listed)
        return index

    def piece(self, name: str) -> list[RolloutRow] | None:
        """Read the rollouts of a piece from its offset in the file; None if there is no such piece. Raises RunDirError."""
        stem, _, rest = name.partition("+")
        start = int(rest) if rest.isascii() and rest.isdecimal() else 0
        file = next((rollout_file for rollout_file in rollout_files(self._run) if rollout_file.name == stem), None)
        if file is None or name != piece_name(stem, start) or start % PIECE:
            return None
        starts = self._indexed(file).starts
        if start and start >= len(starts) - 1:
            return None
        path = self._path(file)
        with reading(path, jsonl.RESTORE), foreign_files.open_file(path, self._run.path) as stream:
            stream.seek(starts[start])
            data = stream.read(starts[min(start + PIECE, len(starts) - 1)] - starts[start])
        return list(jsonl.rows(path, data, RolloutRow.parse))

    def _indexed(self, file: RolloutFile) -> IndexedFile:
        path = self._path(file)
        with reading(path, jsonl.RESTORE):
            status = foreign_files.status(path, self._run.path)
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size) if status else (0, 0, 0)
            if (known := self._files.get(file)) and known.stamp == stamp:
                return known
            data = foreign_files.read_bytes(path, self._run.path)
        rows = list(jsonl.rows(path, data, RolloutRow.parse))
        starts = tuple(accumulate((len(line) + 1 for line in data.split(b"\n")[:-1]), initial=0))
        indexed = IndexedFile(stamp, Listed.of(sample_of(file, rows, self._baseline)), starts)
        self._files[file] = indexed
        return indexed

    def _path(self, file: RolloutFile) -> Path:
        return self._run.rollout_path(file.step, file.split)
