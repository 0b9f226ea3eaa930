"""A run directory: everything a run leaves on disk, and recovery to its last commit after a crash.

    config.json  formats.json        written once, at the start
    provenance.json                  written at the start; a resume adds what differs, if that was allowed
    metrics.jsonl  timing.jsonl  population.jsonl  evaluations.jsonl     append-only
    rollouts/step_000012.jsonl       one file per iteration, replaced whole
    rollouts/test_000012.jsonl       one file per evaluation, of the split that it is named after
    checkpoints/step_000012/         see checkpoints.py; the newest two
    summary.json                     written once, at the end

A step N is the state after N iterations; ``rollouts/step_N`` holds the rollouts that led to it, so the first is 1, and ``rollouts/test_N``
those of an evaluation of it, which comes after its commit. A run killed at any moment resumes from its last commit: `rewind` undoes
everything written since.
"""

import errno
import re
import shlex
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic_core import to_jsonable_python
from safetensors import SafetensorError

from espl_bench.accounting.usage import LedgerTotals
from espl_bench.config.resolve import read_config
from espl_bench.config.run_config import RunConfig
from espl_bench.errors import CheckpointError, RunDirError, reading
from espl_bench.runs import checkpoints, format_versions, lock, logs
from espl_bench.runs.binding import Binding, Change, KnownBinding, leaves, refuse
from espl_bench.runs.checkpoints import STEP_DIGITS, Checkpoint, Save
from espl_bench.runs.logs import Log
from espl_bench.runs.provenance_file import ProvenanceFile
from espl_bench.runs.summary import Summary, read_summary
from espl_bench.types import Split
from espl_bench.utils import atomic_io, foreign_files, jsonl
from espl_bench.utils.disk_refusals import NO_SPACE
from espl_bench.utils.foreign_files import RefusedFileError

__all__ = ["Checkpoint", "Log", "RunDir"]

CONFIG = "config.json"
PROVENANCE = "provenance.json"
SUMMARY = "summary.json"

TRAINING = "step"
"""Prefix of the file names of training rollouts; those of an evaluation have its split."""
TRIAL: Final = "trial"
"""The same for rollouts that children were judged by before they joined."""
RolloutKind = Split | Literal["trial"] | None
"""None: training."""
KINDS: Final[tuple[RolloutKind, ...]] = (None, *Split, TRIAL)

AFTER_COMMIT = (Log.METRICS, Log.EVALUATIONS)
"""Logs that get their first row after the first commit, which is of step 0."""

Row = TypeVar("Row")


class RunDir:
    """One run on disk. A writer holds `lock`; reading needs no lock. A full disk raises RunDirError everywhere."""

    def __init__(self, path: Path) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._checkpoints = path / "checkpoints"
        self._rollouts = path / "rollouts"
        self._binding: Binding | None = None

    @classmethod
    def create(cls, path: Path, config: RunConfig, provenance: Mapping[str, Any]) -> "RunDir":
        """Create the folder, including parents, and describe the run in it.

        Raises:
            RunDirError: the folder already holds a run, is not a folder, or cannot be written.
        """
        run = cls(path)
        if path.exists() and not path.is_dir():
            raise RunDirError(f"{path} is a file, not a folder; choose another --out")
        with run._writing(path):
            path.mkdir(parents=True, exist_ok=True)
        with lock.held(path, " or choose another --out"), run._writing(path):
            if foreign_files.exists(path / CONFIG):
                raise RunDirError(f"{path} already holds a run; resume it with {run._resume} or choose another --out")
            foreign_files.make_folder(run._checkpoints)
            foreign_files.make_folder(run._rollouts)
            for log in Log:
                atomic_io.truncate(log.path(path), 0)
            format_versions.write(path)
            atomic_io.write_atomic(path / PROVENANCE, [atomic_io.indented(provenance)])
            # Last, because its presence is what makes the folder a run.
            atomic_io.write_atomic(path / CONFIG, [atomic_io.encode_text(config.model_dump_json(indent=2) + "\n")])
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """Open an existing run. Raises RunDirError if the folder holds none, or one of a later version, or cannot be read."""
        with reading(path, "make it readable for this user"):
            holds_run = foreign_files.exists(path / CONFIG)
        if not holds_run:
            raise RunDirError(f"{path} holds no run (it has no {CONFIG}); name a folder that `espl-bench run` has made")
        format_versions.check(path)
        return cls(path)

    def config(self) -> RunConfig:
        """Read the configuration the run was started with. Raises UsageError if the file is damaged."""
        return read_config(self.path / CONFIG)

    def refuse_changes(self, config: RunConfig) -> None:
        """Raise UsageError, naming each field that differs, unless `config` is the run's own."""
        old, new = (Binding(config=leaves(to_jsonable_python(run_config.flat()))) for run_config in (self.config(), config))
        refuse(self.path, old.changes(new), "resume it without these options, or start a new run with another --out")

    def refuse_other_data(self, identity: Mapping[str, str]) -> None:
        """Raise UsageError, naming each split that differs, unless the run was started on these items.

        Args:
            identity: as returned by `DataIdentity.compared`.
        """
        recorded = self.provenance.data_identity()
        if not recorded:  # by a version that did not hash generated items
            return
        changes = Binding(items=recorded).changes(Binding(items=dict(identity)))
        refuse(self.path, changes, "bring the recorded data back, or start a new run with another --out")

    @property
    def provenance(self) -> ProvenanceFile:
        """Return the file that says what the run was started with."""
        return ProvenanceFile(self.path / PROVENANCE)

    def facts(self) -> Mapping[str, Any]:
        """Read the facts about data, models and objects in provenance. Raises RunDirError if the file is damaged."""
        return self.provenance.facts()

    def bind(self, binding: Binding) -> None:
        """Set what later commits are bound to."""
        self._binding = binding

    def known_binding(self, commit: Checkpoint | None) -> KnownBinding:
        """Return what is known of the binding that the run goes on from, changes that were allowed at this place included.

        Args:
            commit: the commit it goes on from; None: it starts again.

        Raises RunDirError if provenance is damaged.
        """
        if commit is None:
            return self.provenance.known_binding(None, self.provenance.first_binding())
        return self.provenance.known_binding(commit.step, commit.binding)

    def allow(self, changes: Iterable[Change], step: int | None) -> None:
        """Record changes that the run goes on with from a commit, or from its start."""
        with self._writing(self.provenance.path):
            self.provenance.allow(changes, step)

    def lock(self) -> AbstractContextManager[None]:
        """Keep other writers out. Raises RunDirError naming the process that is already writing."""
        return lock.held(self.path)

    def append(self, log: Log, row: Mapping[str, Any]) -> None:
        """Append one row to a log and pass it to the operating system; `commit` makes it durable."""
        data = jsonl.encode(row)
        with self._writing(log.path(self.path)):
            atomic_io.append(log.path(self.path), data)

    def read_log(self, log: Log, parse: Callable[[bytes], Row]) -> list[Row]:
        """Read all rows of a log, in order, each line with `parse`. Raises RunDirError naming the broken line."""
        return jsonl.read_rows(log.path(self.path), parse, torn_remedy=f"{self._resume} cuts it off")

    def write_rollouts(self, step: int, rows: Iterable[Mapping[str, Any]], split: RolloutKind = None) -> None:
        """Write, or replace, the rollouts or trials of the iteration that ends in `step`, or of the evaluation of a split at `step`."""
        path = self.rollout_path(step, split)
        lines = [jsonl.encode(row) for row in rows]
        with self._writing(path):
            atomic_io.write_atomic(path, lines, self.path)

    def read_rollouts(self, step: int, parse: Callable[[bytes], Row], split: RolloutKind = None) -> list[Row]:
        """Read the rollouts of one iteration or evaluation, each line with `parse`.

        Raises RunDirError if there are none, or a line is broken.
        """
        path = self.rollout_path(step, split)
        with reading(path, jsonl.RESTORE):
            there = foreign_files.exists(path, self.path)
        if not there:
            known = self.rollout_steps(split)
            have = f"{len(known)} steps from {known[0]} to {known[-1]}" if known else "none yet"
            raise RunDirError(f"{path} does not exist; rollouts of this run: {have}")
        return jsonl.read_rows(path, parse, inside=self.path)

    def rollout_steps(self, split: RolloutKind = None) -> list[int]:
        """Return the steps with training rollouts, or with those of an evaluation of `split`, on disk, ascending."""
        kind = split or TRAINING
        with reading(self._rollouts, jsonl.RESTORE):
            names = foreign_files.names(self._rollouts, self.path)
        matches = (re.fullmatch(rf"{kind}_({STEP_DIGITS})\.jsonl", name) for name in names)
        return sorted(int(match[1]) for match in matches if match)

    async def commit(self, step: int, population: Mapping[str, Any], ledger: LedgerTotals, save: Save) -> None:
        """Make everything written so far the state that a resume starts from.

        Args:
            step: iterations finished; committing the newest step again replaces it.
            population: as returned by `Population.to_json`.
            ledger: counts so far.
            save: writes the engine's files into an existing empty folder.

        Raises:
            RunDirError: the disk is full or refuses; earlier commits are unharmed.
        """
        with self._writing(checkpoints.path_of(self._checkpoints, step)):
            sizes = logs.sizes(self.path)
            for log in Log:
                atomic_io.sync(log.path(self.path))
            await checkpoints.write(self._checkpoints, step, population, ledger, sizes, save, self._binding)

    def last_commit(self) -> Checkpoint | None:
        """Return the newest checkpoint, verified; None if the run was killed before its first.

        Raises CheckpointError naming the file that is missing or damaged, and how to continue.
        """
        return checkpoints.newest(self._checkpoints)

    def last_population(self) -> Mapping[str, Any] | None:
        """Return the population of the newest checkpoint, to be looked at; None if there is none that can be read."""
        return checkpoints.newest_population(self._checkpoints)

    def rewind(self, commit: Checkpoint) -> None:
        """Undo everything written after a commit; the logs then have the same bytes as at the commit.

        Raises RunDirError, changing nothing, if a log has lost committed rows, or the rollouts are gone.
        """
        if commit.step and not foreign_files.is_folder(self._rollouts):
            raise RunDirError(f"{self._rollouts} is missing; restore it from a copy, or start a new run with another --out")
        self._rewind(commit.step, commit.log_sizes)

    def refuse_lost_commits(self) -> None:
        """Raise CheckpointError if the run has come further than its first commit, and yet has none."""
        done = [path for path in (self.path / SUMMARY, *(log.path(self.path) for log in AFTER_COMMIT)) if foreign_files.size(path)]
        if done:
            lost = f"{self._checkpoints} holds no checkpoint, but {done[0].name} shows that the run had saved some"
            raise CheckpointError(f"{lost}; restore the folder from a copy, or start a new run with another --out")

    def restart(self) -> None:
        """Undo everything except the initial files, for a run killed before its first commit."""
        self._rewind(-1, dict.fromkeys(Log, 0))

    def _rewind(self, step: int, sizes: Mapping[Log, int]) -> None:
        with self._writing(self.path):
            for folder in (self._checkpoints, self._rollouts):
                foreign_files.make_folder(folder)
            logs.check(self.path, sizes)
            checkpoints.discard_after(self._checkpoints, step)
            foreign_files.remove(self.path / SUMMARY)
            if foreign_files.exists(self.path / PROVENANCE):
                self.provenance.bind_summary(None)
            for kind in KINDS:
                for later in self.rollout_steps(kind):
                    if later > step or (isinstance(kind, Split) and later == step):  # a state is evaluated after its commit
                        foreign_files.remove(self.rollout_path(later, kind), self.path)
            atomic_io.remove_leftovers(self._rollouts, self.path)
            atomic_io.remove_leftovers(self.path)
            logs.cut(self.path, sizes)

    def write_summary(self, summary: Summary) -> None:
        """Write, or replace, the run's result."""
        path = self.path / SUMMARY
        with self._writing(path):
            atomic_io.write_atomic(path, [atomic_io.encode_text(summary.to_json())])
            if foreign_files.exists(self.path / PROVENANCE):
                self.provenance.bind_summary(summary.content_sha256)

    def summary(self) -> Summary:
        """Read the run's result. Raises RunDirError if it has none yet."""
        return read_summary(self.path / SUMMARY)

    @property
    def _resume(self) -> str:
        return f"`espl-bench resume {shlex.quote(str(self.path))}`"

    @property
    def is_finished(self) -> bool:
        """True if the run has a result, readable or not."""
        return foreign_files.exists(self.path / SUMMARY)

    def rollout_paths(self) -> list[Path]:
        """Return the files of all stored rollouts."""
        return [self.rollout_path(step, split) for split in KINDS for step in self.rollout_steps(split)]

    def rollout_path(self, step: int, split: RolloutKind = None) -> Path:
        """Return the path of the rollouts of an iteration or of an evaluation, existing or not."""
        return self._rollouts / f"{split or TRAINING}_{step:06d}.jsonl"

    @contextmanager
    def _writing(self, path: Path) -> Generator[None]:
        """Turn a failure to write into one line: what was being written, what is safe, how to continue."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            raise self._unwritten(path, error) from error

    def _unwritten(self, path: Path, error: OSError | SafetensorError) -> RunDirError:
        number = atomic_io.errno_of(error)
        full, gone = number in NO_SPACE, number == errno.ENOENT
        reason = error.strerror if isinstance(error, OSError) else str(error)
        what = f"no space left while writing {path}" if full else f"cannot write {path} ({reason})"
        if isinstance(error, RefusedFileError):
            return RunDirError(f"{error.filename} is not written to ({reason}); {error.remedy}, or choose another --out")
        if not foreign_files.exists(self.path / CONFIG):
            return RunDirError(f"{what}; {'free space or ' if full else ''}choose another --out")
        if gone:
            return RunDirError(f"{what}; {path.parent} has been removed; restore it from a copy, or start a new run with another --out")
        committed = checkpoints.steps(self._checkpoints)
        safe = f"everything up to step {committed[-1]} is committed" if committed else "nothing is committed yet"
        mend = "free space" if full else "make it writable"
        return RunDirError(f"{what}; {safe}; {mend} and run {self._resume}")
