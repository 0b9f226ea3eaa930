"""Keep a run directory on a node's disk in step with its copy in remote storage.

The copy can be resumed after every push: logs and rollouts go first, which only grow and which a resume cuts back to the
checkpoint, then the checkpoint's files, its record last. A checkpoint without a record is not pulled. A worker that pulls a run
claims it; another worker that was presumed dead, but is not, finds the claim changed and stops pushing.
"""

import threading
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

from espl_bench.errors import RunDirError
from espl_bench.runs import checkpoints
from espl_bench.runs.lock import NAME as LOCK
from espl_bench.runs.run_dir import CONFIG, PROVENANCE, SUMMARY
from espl_bench.sweep.storage import Storage
from espl_bench.utils import foreign_files
from espl_bench.utils.foreign_files import TEMP_PREFIX

CLAIM = ".claim"
LOOK_S = 2.0
"""Seconds between checks for a new checkpoint."""
CHECKPOINTS = "checkpoints"
ROLLOUTS = "rollouts"


class SupersededError(RunDirError):
    """Another worker has taken the run over."""


class Mirror:
    """One run, on local disk and in remote storage."""

    def __init__(self, storage: Storage, cell: str, folder: Path) -> None:
        self._storage = storage
        self._fs = storage.fs
        self._remote = storage.path_of(cell)
        self._cell = cell
        self._folder = folder  # may be empty
        self._token = uuid.uuid4().hex.encode("ascii")
        self._pushed: dict[Path, tuple[int, int]] = {}
        """Size and modification time of the files already in the storage, by path inside the run."""

    def claim(self) -> None:
        """Take the run over from any earlier worker."""
        self._storage.write(f"{self._cell}/{CLAIM}", self._token)

    def pull(self) -> None:
        """Fetch what a resume needs: everything but rollouts, and only checkpoints that were pushed completely.

        Rollouts after the last checkpoint stay in the storage until the same iterations write them again. The remains of an incomplete
        first push are removed.
        """
        self._fs.invalidate_cache()
        try:
            paths: list[str] = self._fs.find(self._remote)
        except FileNotFoundError:
            return
        names = [name.removeprefix(f"{self._remote}/") for name in paths]
        if outside := next((name for name in names if name.startswith("/") or {"..", ""} & set(name.split("/")) or "\0" in name), None):
            raise RunDirError(f"{self._storage.url}/{self._cell} holds {outside!r}, which leads out of it; remove it")
        if CONFIG not in names:  # the worker died in its first push: not a run yet, and not part of the next one
            self._remove(name for name in names if name != CLAIM)
            return
        whole = {name.rpartition("/")[0] for name in names if name.endswith(f"/{checkpoints.RECORD}")}
        for name in names:
            path = Path(name)
            partial = path.parts[0] == CHECKPOINTS and "/".join(path.parts[:2]) not in whole
            if partial or path.name == CLAIM or path.parts[0] == ROLLOUTS:
                continue
            (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
            self._fs.get_file(f"{self._remote}/{name}", str(self._folder / path))
            self._pushed[path] = _stamp(self._folder / path)
        if foreign_files.exists(self._folder / CONFIG):  # empty folders do not exist in object stores
            for name in (CHECKPOINTS, ROLLOUTS):
                (self._folder / name).mkdir(exist_ok=True)

    def push(self) -> None:
        """Bring the storage to the newest checkpoint, and to the summary if there is one.

        Raises SupersededError, and RunDirError if the storage cannot be reached.
        """
        steps = checkpoints.steps(self._folder / CHECKPOINTS)  # before the logs are read: they hold at least these steps
        summary = self._folder / SUMMARY
        finished = foreign_files.exists(summary)
        self._check_claim()
        try:
            for path in self._changed():
                if path.parts[0] != CHECKPOINTS and path.name not in (SUMMARY, CONFIG):
                    self._put(path)
            for step in steps:
                self._push_checkpoint(checkpoints.path_of(Path(CHECKPOINTS), step))
            for name, there in ((CONFIG, True), (SUMMARY, finished)):  # these mark a run, and a finished run
                if there and foreign_files.exists(self._folder / name):
                    self._put(Path(name))
            self._prune(steps)
        except OSError as error:
            raise RunDirError(
                f"{self._storage.url}/{self._cell} cannot be written ({error}); resume the sweep when it is writable"
            ) from error

    @contextmanager
    def following(self) -> Generator[None]:
        """Push after every checkpoint while the block runs, and once more at its end, however it ends."""
        stop = threading.Event()
        follower = threading.Thread(target=self._follow, args=(stop,), name="mirror", daemon=True)
        follower.start()
        try:
            yield
        finally:
            stop.set()
            follower.join()
            if foreign_files.exists(self._folder / PROVENANCE):
                self.push()

    def _follow(self, stop: threading.Event) -> None:
        """Push at every new checkpoint. A failed push is retried at the next look; only the last push, at the end, raises."""
        seen: list[int] = []
        while not stop.wait(LOOK_S):
            steps = checkpoints.steps(self._folder / CHECKPOINTS)
            if steps == seen:
                continue
            try:
                self.push()
                seen = steps
            except RunDirError:
                continue

    def _check_claim(self) -> None:
        if self._storage.read(f"{self._cell}/{CLAIM}") != self._token:
            raise SupersededError(f"{self._storage.url}/{self._cell} has been taken over by another worker; this one leaves it alone")

    def _changed(self) -> list[Path]:
        paths = (path.relative_to(self._folder) for path in foreign_files.files_below(self._folder))
        return [path for path in paths if path.name != LOCK and not any(part.startswith(TEMP_PREFIX) for part in path.parts)]

    def _push_checkpoint(self, folder: Path) -> None:
        """Push one checkpoint, its record last. Skip one that a later checkpoint has deleted meanwhile."""
        try:
            names = sorted(path.relative_to(self._folder) for path in foreign_files.files_below(self._folder / folder))
            for path in sorted(names, key=lambda path: path.name == checkpoints.RECORD):
                self._put(path)
        except FileNotFoundError:
            return

    def _put(self, path: Path) -> None:
        stamp = _stamp(self._folder / path)
        if self._pushed.get(path) != stamp:
            target = f"{self._remote}/{path.as_posix()}"
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(self._folder / path), target)
            self._pushed[path] = stamp

    def _prune(self, steps: list[int]) -> None:
        """Remove from the storage what a checkpoint or a rewind has removed locally."""
        current = {checkpoints.path_of(Path(CHECKPOINTS), step) for step in steps}
        for path in [path for path in self._pushed if not foreign_files.exists(self._folder / path)]:
            if Path(*path.parts[:2]) in current:
                continue
            self._remove([path.as_posix()])
            del self._pushed[path]

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                self._fs.rm_file(f"{self._remote}/{name}")


def _stamp(path: Path) -> tuple[int, int]:
    """Return a stamp that tells a changed file from an unchanged one."""
    status = foreign_files.status(path)
    if status is None:
        raise FileNotFoundError(path)
    return status.st_size, status.st_mtime_ns
