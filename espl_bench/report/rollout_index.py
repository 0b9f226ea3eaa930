"""A run's stored rollouts for `espl-bench view`: each file is read whole once, and then only where somebody looks.

A run of many iterations has hundreds of megabytes of rollouts, and a page that follows it asks for their list again whenever
an iteration ends. What a list shows of a file stays in memory, with the places where its lines begin; a file is replaced whole
or not at all (`durable.write_atomic`), so one whose time and size are the same holds the same.
"""

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from espl_bench.errors import reading
from espl_bench.learning.advantages import Baseline
from espl_bench.report.rollout_pages import PIECE, Index, Listed, RolloutFile, piece_name, rollout_files, sample_of
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import RunDir
from espl_bench.utils import jsonl


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """What is known of one file."""

    stamp: tuple[int, int, int]
    """Its inode, time and size when it was read."""
    listed: Listed
    starts: tuple[int, ...]
    """Where each line begins, and where the last one ends; in bytes."""


class RolloutIndex:
    """The rollouts of one run. Not for several threads at a time."""

    def __init__(self, run: RunDir, baseline: Baseline) -> None:
        """`baseline`: what the run's method compares a reward with."""
        self._run = run
        self._baseline = baseline
        self._volumes: dict[RolloutFile, IndexedFile] = {}

    def index(self) -> Index:
        """Columns of all rollouts; only files that are new or were replaced are read. Raises RunDirError if one cannot be."""
        index = Index()
        for file in rollout_files(self._run):
            index.add(self._volume(file).listed)
        return index

    def piece(self, name: str) -> list[RolloutRow] | None:
        """The rollouts of a piece, read from its place in the file; None if there is none of that name. Raises RunDirError."""
        stem, _, rest = name.partition("+")
        start = int(rest) if rest.isascii() and rest.isdecimal() else 0
        file = next((each for each in rollout_files(self._run) if each.name == stem), None)
        if file is None or name != piece_name(stem, start) or start % PIECE:
            return None
        starts = self._volume(file).starts
        if start and start >= len(starts) - 1:
            return None
        path = self._path(file)
        with reading(path, jsonl.RESTORE), path.open("rb") as stream:
            stream.seek(starts[start])
            data = stream.read(starts[min(start + PIECE, len(starts) - 1)] - starts[start])
        return list(jsonl.rows(path, data, RolloutRow.parse))

    def _volume(self, file: RolloutFile) -> IndexedFile:
        path = self._path(file)
        with reading(path, jsonl.RESTORE):
            stat = path.stat()
            stamp = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if (known := self._volumes.get(file)) and known.stamp == stamp:
                return known
            data = path.read_bytes()
        rows = list(jsonl.rows(path, data, RolloutRow.parse))
        starts = tuple(accumulate((len(line) + 1 for line in data.split(b"\n")[:-1]), initial=0))
        volume = IndexedFile(stamp, Listed.of(sample_of(file, rows, self._baseline)), starts)
        self._volumes[file] = volume
        return volume

    def _path(self, file: RolloutFile) -> Path:
        return self._run.rollout_path(file.step, file.split)
