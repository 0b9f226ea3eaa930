"""A run directory: everything a run leaves on disk, and recovery to its last commit after a crash.

    config.json  provenance.json  formats.json     written once, at the start
    metrics.jsonl  timing.jsonl  population.jsonl  evaluations.jsonl     append-only
    rollouts/step_000012.jsonl       one file per iteration, replaced whole
    rollouts/test_000012.jsonl       one file per evaluation, of the split that it is named after
    checkpoints/step_000012/         see checkpoints.py; the newest two
    summary.json                     written once, at the end

A step N is the state after N iterations; ``rollouts/step_N`` holds the rollouts that led to it, so the first is 1, and ``rollouts/test_N``
those of an evaluation of it, which comes after its commit. A run killed at any moment resumes from its last commit: `rewind` undoes
everything written since.
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

from pydantic_core import to_jsonable_python
from safetensors import SafetensorError

from espl_bench.accounting.usage import LedgerTotals
from espl_bench.config.resolve import read_config
from espl_bench.config.run_config import RunConfig
from espl_bench.errors import RunDirError, UsageError
from espl_bench.runs import checkpoints, format_versions, lock, logs
from espl_bench.runs.checkpoints import Checkpoint, Save
from espl_bench.runs.logs import Log
from espl_bench.runs.summary import Summary, read_summary
from espl_bench.types import Split
from espl_bench.utils import atomic_io, jsonl
from espl_bench.utils.hashing import SHOWN_HASH

__all__ = ["Checkpoint", "Log", "RunDir"]

CONFIG = "config.json"
PROVENANCE = "provenance.json"
SUMMARY = "summary.json"
DATA_FACTS = "data"
"""Key in provenance's facts for an environment's data."""
IDENTITY = "identity"
"""Key in the data facts: split → hash."""
GIVEN_FACTS = "given"
"""Key in provenance's facts for the objects that a run was started with from Python."""
SHOWN_WIDTH = 60
"""Maximum characters of a value in a message."""

TRAINING = "step"
"""Prefix of the file names of training rollouts; those of an evaluation have its split."""
TRIAL: Final = "trial"
"""The same for rollouts that children were judged by before they joined."""
RolloutKind = Split | Literal["trial"] | None
"""None: training."""
KINDS: Final[tuple[RolloutKind, ...]] = (None, *Split, TRIAL)

Row = TypeVar("Row")


class RunDir:
    """One run on disk. A writer holds `lock`; reading needs no lock. A full disk raises RunDirError everywhere."""

    def __init__(self, path: Path) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._checkpoints = path / "checkpoints"
        self._rollouts = path / "rollouts"

    @classmethod
    def create(cls, path: Path, config: RunConfig, provenance: Mapping[str, Any]) -> "RunDir":
        """Create the folder, including parents, and describe the run in it.

        Raises:
            RunDirError: the folder already holds a run, is not a folder, or cannot be written.
        """
        run = cls(path)
        if os.path.isfile(path):
            raise RunDirError(f"{path} is a file, not a folder; choose another --out")
        with run._writing(path):
            path.mkdir(parents=True, exist_ok=True)
        with run.lock(), run._writing(path):
            if os.path.exists(path / CONFIG):
                raise RunDirError(f"{path} already holds a run; resume it with {run._resume} or choose another --out")
            run._checkpoints.mkdir(exist_ok=True)
            run._rollouts.mkdir(exist_ok=True)
            for log in Log:
                atomic_io.truncate(log.path(path), 0)
            format_versions.write(path)
            atomic_io.write_atomic(path / PROVENANCE, [atomic_io.indented(provenance)])
            # Last, because its presence is what makes the folder a run.
            atomic_io.write_atomic(path / CONFIG, [atomic_io.encode_text(config.model_dump_json(indent=2) + "\n")])
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """Open an existing run. Raises RunDirError if the folder holds none, or one of a later version of the package."""
        if not os.path.isfile(path / CONFIG):
            raise RunDirError(f"{path} holds no run (it has no {CONFIG}); name a folder that `espl-bench run` has made")
        format_versions.check(path)
        return cls(path)

    def config(self) -> RunConfig:
        """Read the configuration the run was started with. Raises UsageError if the file is damaged."""
        return read_config(self.path / CONFIG)

    def refuse_changes(self, config: RunConfig) -> None:
        """Raise UsageError, naming each field that differs, unless `config` is the run's own."""
        old, new = (_leaves(to_jsonable_python(run_config.flat())) for run_config in (self.config(), config))
        changed = [
            f"{name} {_change(old.get(name, _ABSENT), new.get(name, _ABSENT))}"
            for name in dict.fromkeys([*old, *new])
            if old.get(name, _ABSENT) != new.get(name, _ABSENT)
        ]
        if changed:
            remedy = "resume it without these options, or start a new run with another --out"
            raise UsageError(f"{self.path} was started with another configuration: {', '.join(changed)}; {remedy}")

    def refuse_other_data(self, identity: Mapping[str, str]) -> None:
        """Raise UsageError, naming each split that differs, unless the run was started on these items.

        Args:
            identity: as returned by `TextEnv.data_identity`; empty for an environment that generates its items itself.
        """
        if not identity:
            return
        recorded: Mapping[str, str] = self.facts().get(DATA_FACTS, {}).get(IDENTITY, {})
        changed = [
            f"{split} {recorded.get(split, '(none)')[:SHOWN_HASH]} -> {identity.get(split, '(none)')[:SHOWN_HASH]}"
            for split in dict.fromkeys([*recorded, *identity])
            if recorded.get(split) != identity.get(split)
        ]
        if changed:
            remedy = "bring the recorded data back, or start a new run with another --out"
            raise UsageError(f"{self.path} was started on other data: {', '.join(changed)}; {remedy}")

    def facts(self) -> Mapping[str, Any]:
        """Read the facts about data, models and objects in provenance. Raises RunDirError if the file is damaged."""
        path = self.path / PROVENANCE
        try:
            return json.loads(path.read_bytes()).get("facts", {})
        except (OSError, ValueError, AttributeError) as error:
            raise RunDirError(f"{path} cannot be read ({error}); restore it from a copy, or start a new run") from error

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
            atomic_io.write_atomic(path, lines)

    def read_rollouts(self, step: int, parse: Callable[[bytes], Row], split: RolloutKind = None) -> list[Row]:
        """Read the rollouts of one iteration or evaluation, each line with `parse`.

        Raises RunDirError if there are none, or a line is broken.
        """
        path = self.rollout_path(step, split)
        if not path.exists():
            known = self.rollout_steps(split)
            have = f"{len(known)} steps from {known[0]} to {known[-1]}" if known else "none yet"
            raise RunDirError(f"{path} does not exist; rollouts of this run: {have}")
        return jsonl.read_rows(path, parse)

    def rollout_steps(self, split: RolloutKind = None) -> list[int]:
        """Return the steps with training rollouts, or with those of an evaluation of `split`, on disk, ascending."""
        kind = split or TRAINING
        matches = (re.fullmatch(rf"{kind}_(\d{{6,}})\.jsonl", path.name) for path in self._rollouts.glob(f"{kind}_*.jsonl"))
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
            await checkpoints.write(self._checkpoints, step, population, ledger, sizes, save)

    def last_commit(self) -> Checkpoint | None:
        """Return the newest checkpoint, verified; None if the run was killed before its first.

        Raises CheckpointError naming the file that is missing or damaged, and how to continue.
        """
        return checkpoints.newest(self._checkpoints)

    def rewind(self, commit: Checkpoint) -> None:
        """Undo everything written after a commit; the logs then have the same bytes as at the commit.

        Raises RunDirError, changing nothing, if a log has lost committed rows.
        """
        self._rewind(commit.step, commit.log_sizes)

    def restart(self) -> None:
        """Undo everything except the initial files, for a run killed before its first commit."""
        self._rewind(-1, dict.fromkeys(Log, 0))

    def _rewind(self, step: int, sizes: Mapping[Log, int]) -> None:
        with self._writing(self.path):
            logs.check(self.path, sizes)
            checkpoints.discard_after(self._checkpoints, step)
            (self.path / SUMMARY).unlink(missing_ok=True)
            for kind in KINDS:
                for later in self.rollout_steps(kind):
                    if later > step or (isinstance(kind, Split) and later == step):  # a state is evaluated after its commit
                        self.rollout_path(later, kind).unlink()
            atomic_io.remove_leftovers(self._rollouts)
            atomic_io.remove_leftovers(self.path)
            logs.cut(self.path, sizes)

    def write_summary(self, summary: Summary) -> None:
        """Write, or replace, the run's result."""
        path = self.path / SUMMARY
        with self._writing(path):
            atomic_io.write_atomic(path, [atomic_io.encode_text(summary.to_json())])

    def summary(self) -> Summary:
        """Read the run's result. Raises RunDirError if it has none yet."""
        return read_summary(self.path / SUMMARY)

    @property
    def _resume(self) -> str:
        return f"`espl-bench resume {shlex.quote(str(self.path))}`"

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
        full = atomic_io.errno_of(error) in atomic_io.NO_SPACE
        reason = error.strerror if isinstance(error, OSError) else str(error)
        what = f"no space left while writing {path}" if full else f"cannot write {path} ({reason})"
        if not os.path.isfile(self.path / CONFIG):
            return RunDirError(f"{what}; {'free space or ' if full else ''}choose another --out")
        committed = checkpoints.steps(self._checkpoints)
        safe = f"everything up to step {committed[-1]} is committed" if committed else "nothing is committed yet"
        mend = "free space" if full else "make it writable"
        return RunDirError(f"{what}; {safe}; {mend} and run {self._resume}")


_ABSENT = object()


def _leaves(value: object, name: str = "") -> dict[str, object]:
    """Flatten nested dicts and lists to leaves by dotted name."""
    if isinstance(value, dict):
        items = cast(dict[str, object], value).items()
    elif isinstance(value, list):
        items = enumerate(cast(list[object], value))
    else:
        return {name: value}
    return {key: leaf for part, item in items for key, leaf in _leaves(item, f"{name}.{part}" if name else str(part)).items()}


def _change(old: object, new: object) -> str:
    """Format ``old -> new``; for long values, only the part that differs."""
    before, after = _shown(old), _shown(new)
    if max(len(before), len(after)) > SHOWN_WIDTH:
        same = next((at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
        start = max(0, same - SHOWN_WIDTH // 4)
        before, after = (f"{'…' * (start > 0)}{text[start : start + SHOWN_WIDTH]}" for text in (before, after))
    return f"{before} -> {after}"


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "(none)"
    return value if isinstance(value, str) and value.isidentifier() else json.dumps(value, ensure_ascii=False)
