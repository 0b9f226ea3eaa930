"""A run directory on a node's disk, kept in step with its copy in remote storage.

What is pushed after each commit can always be resumed: the logs and rollouts first, which only grow and which a resume cuts
back to the commit, then the commit's files, its record last. A checkpoint without a record is not pulled. Whoever pulls a
run claims it; a worker that was given up for dead, but is not, finds the claim changed and pushes no more.
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
from espl_bench.utils.atomic_io import TEMP_PREFIX

CLAIM = ".claim"
LOOK_S = 2.0
"""Seconds between looks for a new commit."""
CHECKPOINTS = "checkpoints"
ROLLOUTS = "rollouts"


class SupersededError(RunDirError):
    """Another worker has taken the run over."""


class Mirror:
    """One run in two places."""

    def __init__(self, storage: Storage, cell: str, folder: Path) -> None:
        """`folder` is local and may be empty."""
        self._storage = storage
        self._fs = storage.fs
        self._remote = storage.place(cell)
        self._cell = cell
        self._folder = folder
        self._token = uuid.uuid4().hex.encode("ascii")
        self._pushed: dict[Path, tuple[int, int]] = {}
        """Size and time of change of what is in the storage already, by path inside the run."""

    def claim(self) -> None:
        """Take the run over from whoever had it."""
        self._storage.write(f"{self._cell}/{CLAIM}", self._token)

    def pull(self) -> None:
        """Fetch what a resume needs: all but rollouts, and no checkpoint that was not pushed to its end.

        Rollouts after the last commit stay in the storage until the same iterations write them again. What a first push left that
        did not come to its end is removed.
        """
        self._fs.invalidate_cache()
        try:
            found: list[str] = self._fs.find(self._remote)
        except FileNotFoundError:
            return
        names = [name.removeprefix(f"{self._remote}/") for name in found]
        if CONFIG not in names:  # the worker died in its first push: this is no run yet, and must not be taken for part of the next
            self._remove(name for name in names if name != CLAIM)
            return
        whole = {name.rpartition("/")[0] for name in names if name.endswith(f"/{checkpoints.RECORD}")}
        for name in names:
            place = Path(name)
            half = place.parts[0] == CHECKPOINTS and "/".join(place.parts[:2]) not in whole
            if half or place.name == CLAIM or place.parts[0] == ROLLOUTS:
                continue
            (self._folder / place).parent.mkdir(parents=True, exist_ok=True)
            self._fs.get_file(f"{self._remote}/{name}", str(self._folder / place))
            self._pushed[place] = _stamp(self._folder / place)
        if (self._folder / CONFIG).exists():  # empty folders do not exist in object stores
            for name in (CHECKPOINTS, ROLLOUTS):
                (self._folder / name).mkdir(exist_ok=True)

    def push(self) -> None:
        """Bring the storage to the newest commit, and to the summary if there is one.

        Raises SupersededError, and RunDirError if the storage cannot be reached.
        """
        steps = checkpoints.steps(self._folder / CHECKPOINTS)  # before the logs are read: they hold at least what was committed
        summary = self._folder / SUMMARY
        finished = summary.exists()
        self._check_claim()
        try:
            for place in self._changed():
                if place.parts[0] != CHECKPOINTS and place.name not in (SUMMARY, CONFIG):
                    self._put(place)
            for step in steps:
                self._push_commit(checkpoints.path_of(Path(CHECKPOINTS), step))
            for name, there in ((CONFIG, True), (SUMMARY, finished)):  # what makes it a run, and a finished one
                if there and (self._folder / name).exists():
                    self._put(Path(name))
            self._prune(steps)
        except OSError as error:
            raise RunDirError(f"{self._storage.url}/{self._cell} cannot be written ({error}); resume the sweep when it can be") from error

    @contextmanager
    def following(self) -> Generator[None]:
        """Push after every commit while the block runs, and once more at its end, however it ends."""
        stop = threading.Event()
        follower = threading.Thread(target=self._follow, args=(stop,), name="mirror", daemon=True)
        follower.start()
        try:
            yield
        finally:
            stop.set()
            follower.join()
            if (self._folder / PROVENANCE).exists():
                self.push()

    def _follow(self, stop: threading.Event) -> None:
        """A push that fails is tried again at the next look; the last one, at the end, tells."""
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
        files = (path for path in sorted(self._folder.rglob("*")) if path.is_file())
        places = (path.relative_to(self._folder) for path in files)
        return [place for place in places if place.name != LOCK and not any(part.startswith(TEMP_PREFIX) for part in place.parts)]

    def _push_commit(self, folder: Path) -> None:
        """One checkpoint, its record last. It may be deleted meanwhile, by a later commit, and is then left out."""
        try:
            names = sorted(path.relative_to(self._folder) for path in (self._folder / folder).rglob("*") if path.is_file())
            for place in sorted(names, key=lambda place: place.name == checkpoints.RECORD):
                self._put(place)
        except FileNotFoundError:
            return

    def _put(self, place: Path) -> None:
        stamp = _stamp(self._folder / place)
        if self._pushed.get(place) != stamp:
            target = f"{self._remote}/{place.as_posix()}"
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(self._folder / place), target)
            self._pushed[place] = stamp

    def _prune(self, steps: list[int]) -> None:
        """Remove from the storage what a commit or a rewind has removed here."""
        kept = {checkpoints.path_of(Path(CHECKPOINTS), step) for step in steps}
        for place in [place for place in self._pushed if not (self._folder / place).exists()]:
            if Path(*place.parts[:2]) in kept:
                continue
            self._remove([place.as_posix()])
            del self._pushed[place]

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                self._fs.rm_file(f"{self._remote}/{name}")


def _stamp(path: Path) -> tuple[int, int]:
    """What tells a changed file from an unchanged one."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns
