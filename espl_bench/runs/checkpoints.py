"""Checkpoints: the points from which a run can be resumed. A commit is one rename of a finished folder, so it is whole or absent.

A checkpoint folder holds what the engine saved and ``commit.json``: step, population, ledger, the size of every log at
that moment, what the run's numbers depend on, and the SHA-256 of every file. Reading one verifies all of it.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from espl_bench.accounting.usage import LedgerTotals
from espl_bench.errors import CheckpointError
from espl_bench.runs.binding import Binding
from espl_bench.runs.logs import Log
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.foreign_files import RefusedFileError
from espl_bench.utils.foreign_json import parse_object
from espl_bench.utils.jsonl import encode
from espl_bench.utils.validation import FrozenRecord

RECORD = "commit.json"
KEPT = 2
"""Newest checkpoints to keep: if one is damaged, there is another."""

Save = Callable[[Path], Awaitable[None]]
"""Writes an engine's files into an existing empty folder."""

STEP_DIGITS = "[0-9]{6}|[1-9][0-9]{6,11}"
"""Pattern of a step in the name of a file or folder."""
_NAME = re.compile(f"step_({STEP_DIGITS})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint."""

    step: int
    """Iterations finished."""
    population: Mapping[str, Any]
    """In the form of `Population.to_json`."""
    ledger: LedgerTotals
    log_sizes: Mapping[Log, int]
    """Bytes of each log."""
    folder: Path
    """Folder of the engine's files."""
    binding: Binding | None = None
    """None: made by a version that did not write it."""


class _Record(FrozenRecord):
    """The content of commit.json, apart from its own checksum."""

    format: Literal["espl-bench/commit/1", "espl-bench/commit/2"] = "espl-bench/commit/2"
    """Version 1 has no binding."""
    step: int
    population: dict[str, Any]
    ledger: LedgerTotals
    logs: dict[Log, int]
    files: dict[str, str]
    """SHA-256 of each other file of the checkpoint, by its path inside it."""
    binding: Binding | None = None


class _BrokenError(Exception):
    """A checkpoint cannot be used; the message names the file and the reason."""


def path_of(checkpoints: Path, step: int) -> Path:
    """Return the folder of one step's checkpoint."""
    return checkpoints / f"step_{step:06d}"


def steps(checkpoints: Path) -> list[int]:
    """Return the committed steps that are still kept, ascending; none without the folder. Raises OSError if it cannot be read."""
    matches = map(_NAME.fullmatch, foreign_files.names(checkpoints, checkpoints.parent))
    return sorted(int(match[1]) for match in matches if match)


async def write(
    checkpoints: Path,
    step: int,
    population: Mapping[str, Any],
    ledger: LedgerTotals,
    log_sizes: Mapping[Log, int],
    save: Save,
    binding: Binding | None = None,
) -> None:
    """Commit, then delete all but the newest checkpoints. A repeated step replaces its checkpoint.

    Nothing is awaited between the first hash and the rename, so a cancelled task cannot leave half a commit.

    Raises:
        OSError: the disk is full or refuses; no earlier checkpoint is harmed.
        ValueError: a later step is already committed; call `discard_after` first.
    """
    if any(later > step for later in steps(checkpoints)):
        raise ValueError(f"step {step} cannot be committed after step {steps(checkpoints)[-1]}")
    final = path_of(checkpoints, step)
    run = checkpoints.parent
    atomic_io.remove_leftovers(checkpoints, run)
    part = foreign_files.new_folder(checkpoints, run)
    try:
        await save(part)
        record = _Record(step=step, population=dict(population), ledger=ledger, logs=dict(log_sizes), files=_hashes(part), binding=binding)
        atomic_io.write_atomic(part / RECORD, [_sealed(record)])
        atomic_io.share(part, like=part / RECORD)
        atomic_io.sync_tree(part)
        if foreign_files.exists(final, run):  # a run resumed at this step; if this is lost, the previous checkpoint serves as well
            atomic_io.discard(final, run)
        foreign_files.rename(part, final, run)
        atomic_io.sync_folder(checkpoints)
    finally:
        with suppress(OSError):
            foreign_files.remove(part, run)
    for old in steps(checkpoints)[:-KEPT]:
        atomic_io.discard(path_of(checkpoints, old), run)


def newest(checkpoints: Path) -> Checkpoint | None:
    """Return the last commit, with every file verified; None if nothing is committed.

    Raises:
        CheckpointError: a file of it is missing or damaged; the message says what to delete to go on from an older one. Or it cannot
            be read by this user, which says nothing of what it holds.
    """
    committed: list[int] = []
    try:
        committed = steps(checkpoints)
        return _read(path_of(checkpoints, committed[-1])) if committed else None
    except OSError as error:
        where = error.filename or checkpoints
        raise CheckpointError(f"{where} cannot be read ({error.strerror}); make it readable for this user: nothing is lost") from error
    except _BrokenError as broken:
        raise CheckpointError(f"{broken}; {_remedy(checkpoints, committed)}") from broken


def newest_population(checkpoints: Path) -> Mapping[str, Any] | None:
    """Return the population of the last commit, to be looked at; only its own record is verified. None if none can be read."""
    try:
        committed = steps(checkpoints)
        return _unsealed(path_of(checkpoints, committed[-1]) / RECORD).population if committed else None
    except (OSError, _BrokenError):
        return None


def discard_after(checkpoints: Path, step: int) -> None:
    """Delete checkpoints of later steps, and unfinished ones that a crash left."""
    for later in steps(checkpoints):
        if later > step:
            atomic_io.discard(path_of(checkpoints, later), checkpoints.parent)
    atomic_io.remove_leftovers(checkpoints, checkpoints.parent)


def _remedy(checkpoints: Path, committed: list[int]) -> str:
    """Say what to do if the newest checkpoint is broken."""
    for index in range(len(committed) - 2, -1, -1):
        try:
            older = _read(path_of(checkpoints, committed[index]))
        except (_BrokenError, OSError):
            continue
        bad = " and ".join(str(path_of(checkpoints, step)) for step in committed[index + 1 :])
        return f"delete {bad} to resume from step {older.step}"
    return "no older checkpoint is sound: start the run again with another --out"


def _read(folder: Path) -> Checkpoint:
    """Read and verify one. Raises _BrokenError, or OSError if a file that is there cannot be read."""
    record = _unsealed(folder / RECORD)
    if path_of(folder.parent, record.step) != folder:
        raise _BrokenError(f"{folder / RECORD} belongs to step {record.step}, not to its folder")
    for name, digest in record.files.items():
        path = folder / name
        try:
            actual = foreign_files.sha256(path, folder.parent.parent)
        except FileNotFoundError as error:
            raise _BrokenError(f"{path} is missing") from error
        except (RefusedFileError, ValueError) as error:
            raise _BrokenError(f"{path} is damaged ({error.strerror if isinstance(error, OSError) else 'outside its folder'})") from error
        if actual != digest:
            raise _BrokenError(f"{path} is damaged: its SHA-256 is not the committed one")
    return Checkpoint(record.step, record.population, record.ledger, record.logs, folder, record.binding)


def _hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): foreign_files.sha256(path) for path in foreign_files.files_below(folder)}


def _sealed(record: _Record) -> bytes:
    """Encode commit.json: the record and, as ``sha256``, the checksum of its canonical encoding."""
    plain = record.model_dump(mode="json")
    return encode({**plain, "sha256": hashlib.sha256(encode(plain)).hexdigest()})


def _unsealed(path: Path) -> _Record:
    try:
        plain = parse_object(foreign_files.read_record(path, path.parents[2]))
        digest = plain.pop("sha256", None)
        if digest != hashlib.sha256(encode(plain)).hexdigest():
            raise _BrokenError(f"{path} is damaged: its SHA-256 is not the committed one")
        return _Record.model_validate(plain)
    except FileNotFoundError as error:
        raise _BrokenError(f"{path} is missing") from error
    except RefusedFileError as error:
        raise _BrokenError(f"{path} is damaged: {error.strerror}") from error
    except (ValidationError, ValueError, TypeError) as error:
        raise _BrokenError(f"{path} is damaged: not a commit record") from error
