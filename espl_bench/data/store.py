"""The data home: every data set once, in one format, with a manifest of its origin and expected bytes.

    <home>/<source>/manifest.json        replaced last, so that a set is whole or the previous one
    <home>/<source>/rows-3fa2b1c0.jsonl  {"problem": …, "answer": …, "row": …}, named by its identity

Reading compares the file's bytes with the manifest and is cached until either file changes.
"""

import hashlib
import json
import os
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from espl_bench.data.dataset_spec import Columns, DataSource
from espl_bench.data.intake import Intake
from espl_bench.data.item_text import Item
from espl_bench.errors import DataError, reading
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.foreign_files import LOG_BYTES
from espl_bench.utils.foreign_json import InvalidJsonError, parse_object, parse_record
from espl_bench.utils.named_files import read_named
from espl_bench.utils.names import FileName
from espl_bench.utils.validation import FrozenRecord, first_fault

HOME_VARIABLE: Final = "ESPL_BENCH_DATA"
MANIFEST: Final = "manifest.json"
SCHEMA: Final = "espl-bench/data/1"
M = TypeVar("M", bound=BaseModel)

Stamp = tuple[int, int]
"""Modification time in nanoseconds, and size in bytes."""


class DataOrigin(FrozenRecord):
    """Origin of the rows: the hub, or a file."""

    hub_id: str | None = None
    revision: str | None = None
    """The loaded commit of the hub."""
    file: str | None = None
    """The file's name, without its folder; of several, of the first and their number."""
    file_sha256: str | None = None
    """Of several files, of their hashes in order."""
    files: dict[str, str] = Field(default_factory=dict)
    """Several files in order, with the SHA-256 of each."""

    def __str__(self) -> str:
        """Describe the origin in a few words, for people."""
        if self.hub_id is not None:
            return f"{self.hub_id} @ {(self.revision or 'no revision')[:12]}"
        return f"file {self.file}"


class Manifest(BaseModel):
    """Facts about a stored set."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["espl-bench/data/1"] = Field(default=SCHEMA, alias="schema")
    source: str
    origin: DataOrigin
    columns: Columns
    rows_read: int
    items: int
    duplicates: int
    conflicts: tuple[int, ...]
    repaired: int
    layout: str = ""
    skipped: dict[str, int] = Field(default_factory=dict)
    """Dropped rows by reason."""
    unshown: dict[str, int] = Field(default_factory=dict)
    unread_columns: tuple[str, ...] = ()
    identity: str
    rows_file: FileName
    rows_sha256: str
    imported_utc: str


@dataclass(frozen=True, eq=False)
class StoredData:
    """A set read from the data home. Compared by object identity: one reading, one object."""

    manifest: Manifest
    items: tuple[Item, ...]

    def facts(self) -> dict[str, Any]:
        """Return the facts that a run's provenance records."""
        recorded = {"source", "origin", "rows_read", "items", "duplicates", "repaired", "skipped", "unshown", "identity"}
        return self.manifest.model_dump(mode="json", include=recorded) | {"conflicts": len(self.manifest.conflicts)}


def home() -> Path:
    """Return the data home: ``ESPL_BENCH_DATA``, or the platform's folder for user data. It may not exist yet."""
    if named := os.environ.get(HOME_VARIABLE):
        return Path(named).expanduser()
    return user_data_path("espl-bench", appauthor=False)


def save(source: DataSource, intake: Intake, origin: DataOrigin) -> Manifest:
    """Save a set in the data home, replacing the previous one. Raises DataError if the home cannot be written."""
    folder = home() / source.name
    lines = [
        atomic_io.encode_text(json.dumps({"problem": item.problem, "answer": item.answer, "row": item.row}, ensure_ascii=False) + "\n")
        for item in intake.items
    ]
    rows_file = f"rows-{intake.identity[:8]}.jsonl"
    with writing_to(folder):
        atomic_io.write_atomic(folder / rows_file, lines)
        manifest = Manifest(
            source=source.name,
            origin=origin,
            columns=intake.columns,
            rows_read=intake.rows_read,
            items=len(intake.items),
            duplicates=intake.duplicates,
            conflicts=intake.conflicts,
            repaired=intake.repaired,
            layout=intake.layout,
            skipped=dict(intake.skipped),
            unshown=dict(intake.unshown),
            unread_columns=intake.unread,
            identity=intake.identity,
            rows_file=rows_file,
            rows_sha256=foreign_files.sha256(folder / rows_file),
            imported_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        atomic_io.write_atomic(folder / MANIFEST, [atomic_io.encode_text(manifest.model_dump_json(indent=2, by_alias=True) + "\n")])
        remove_others(folder, "rows-*.jsonl", rows_file)
    return manifest


@contextmanager
def writing_to(folder: Path) -> Generator[None]:
    """Make a folder of the data home, to be filled inside the block. Raises DataError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(f"{folder} cannot be written ({error.strerror or error}); set {HOME_VARIABLE} to a writable folder") from error


def remove_others(folder: Path, pattern: str, kept: str) -> None:
    """Remove what earlier versions of a set left in its folder."""
    for old in folder.glob(pattern):
        if old.name != kept:
            old.unlink()


def is_stored(source: DataSource) -> bool:
    """Return True if the data home has the set, whole or not."""
    return (home() / source.name / MANIFEST).is_file()


def load(source: DataSource, remedy: str) -> StoredData:
    """Load a stored set, and compare its bytes with the manifest.

    Args:
        source: the set.
        remedy: the command that restores it, for messages.

    Raises:
        DataError: it is missing, or differs from what was stored.
    """
    folder = home() / source.name
    manifest = manifest_of(source, remedy)
    return _stored(folder, stamp_of(folder / MANIFEST, remedy), stamp_of(folder / manifest.rows_file, remedy), remedy)


def manifest_of(source: DataSource, remedy: str) -> Manifest:
    """Return the manifest of a stored set, without reading its rows. Raises DataError as `load`."""
    path = home() / source.name / MANIFEST
    if not path.is_file():
        raise DataError(f"the data set {source.name} is not in {home()}; fetch or import it: {remedy}")
    return _manifest(path, stamp_of(path, remedy), remedy)


def stamp_of(path: Path, remedy: str) -> Stamp:
    """Return a file's stamp, which changes when the file does."""
    with reading_stored(path, remedy):
        stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=256)
def _manifest(path: Path, stamp: Stamp, remedy: str) -> Manifest:
    return read_manifest(Manifest, path, remedy)


def read_manifest(kind: type[M], path: Path, remedy: str) -> M:
    """Read a manifest. Raises DataError if it is damaged."""
    try:
        with reading_stored(path, remedy):
            return parse_record(kind, read_named(path))
    except (ValidationError, InvalidJsonError) as error:
        reason = first_fault(error) if isinstance(error, ValidationError) else error
        raise DataError(f"{path} is damaged ({reason}); bring it back: {remedy}") from error


@lru_cache(maxsize=64)
def _stored(folder: Path, manifest_stamp: Stamp, rows_stamp: Stamp, remedy: str) -> StoredData:
    """Read and compare a set once, as long as neither file changes."""
    manifest = _manifest(folder / MANIFEST, manifest_stamp, remedy)
    path = folder / manifest.rows_file
    with reading_stored(path, remedy):
        content = read_named(path, LOG_BYTES)
    if hashlib.sha256(content).hexdigest() != manifest.rows_sha256:
        raise DataError(f"{path} is not the file that was stored (its SHA-256 differs from the manifest's); bring it back: {remedy}")
    try:
        return StoredData(manifest, tuple(_item(parse_object(line)) for line in content.splitlines()))
    except (InvalidJsonError, KeyError) as error:
        raise DataError(f"{path} holds a line that is no item ({error}); bring it back: {remedy}") from error


def reading_stored(path: Path, remedy: str) -> AbstractContextManager[None]:
    """Turn an OSError inside the block into a DataError with the command that brings the file back."""
    return reading(path, f"bring it back: {remedy}", DataError)


def _item(row: Mapping[str, Any]) -> Item:
    problem, answer, number = row["problem"], row["answer"], row["row"]
    if not (isinstance(problem, str) and isinstance(answer, str) and isinstance(number, int)):
        raise InvalidJsonError("problem and answer are texts, row is a number")
    return Item(problem, answer, number)
