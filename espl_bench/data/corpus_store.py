"""Corpora in the data home, each with a manifest of its origin and expected bytes.

<home>/<corpus>/manifest.json            replaced last, so that a corpus is whole or the previous one
<home>/<corpus>/passages-3fa2b1c0.jsonl  {"id": …, "title": …, "text": …}, named by its hash
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from espl_bench.data.dataset_spec import CorpusSource
from espl_bench.data.paragraphs import GatheredParagraphs
from espl_bench.data.store import MANIFEST, DataOrigin, Stamp, home, read_manifest, reading_stored, remove_others, stamp_of, writing_to
from espl_bench.errors import DataError
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.names import FileName
from espl_bench.utils.validation import FrozenRecord

SCHEMA: Final = "espl-bench/corpus/1"


class CorpusPart(FrozenRecord):
    """What one set gave to a corpus."""

    source: str
    origin: DataOrigin
    rows: int
    questions: int
    """Questions whose paragraphs were taken."""
    last_rank: int | None
    """The highest rank among them; None: every question was taken."""
    without_evidence: int
    """Those whose row names evidence that is not among its paragraphs."""


class CorpusManifest(FrozenRecord):
    """Facts about a stored corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["espl-bench/corpus/1"] = Field(default=SCHEMA, alias="schema")
    corpus: str
    licence: str
    parts: tuple[CorpusPart, ...]
    passages: int
    passages_file: FileName
    passages_sha256: str
    made_utc: str


@dataclass(frozen=True, eq=False)
class StoredCorpus:
    """A corpus in the data home. Compared by object identity: one reading, one object."""

    manifest: CorpusManifest
    path: Path
    """Its file of passages."""

    def facts(self) -> dict[str, Any]:
        """Return the facts that a run's provenance records."""
        return self.manifest.model_dump(mode="json", include={"corpus", "licence", "parts", "passages", "passages_sha256"})

    def covers(self, source: str, rank: int) -> bool:
        """Return False for a question of one of the sets behind the corpus whose paragraphs were not taken."""
        last = next((part.last_rank for part in self.manifest.parts if part.source == source), None)
        return last is None or rank <= last


def is_stored(corpus: CorpusSource) -> bool:
    """Return True if the data home has the corpus, whole or not."""
    return (home() / corpus.name / MANIFEST).is_file()


def save(corpus: CorpusSource, gathered: Sequence[tuple[GatheredParagraphs, DataOrigin]]) -> CorpusManifest:
    """Save a corpus in the data home, replacing the previous one. Raises DataError if the home cannot be written.

    Args:
        corpus: its description.
        gathered: what each of its sets gave, and where that is from, in the sets' order.
    """
    folder = home() / corpus.name
    distinct = dict.fromkeys(paragraph for part, _ in gathered for paragraph in part.paragraphs)
    records = ({"id": str(number), "title": each.title, "text": each.text} for number, each in enumerate(distinct))
    content = b"".join(atomic_io.encode_text(json.dumps(record, ensure_ascii=False) + "\n") for record in records)
    sha256 = hashlib.sha256(content).hexdigest()
    manifest = CorpusManifest(
        corpus=corpus.name,
        licence=corpus.licence.name,
        parts=tuple(
            CorpusPart(
                source=source.name,
                origin=origin,
                rows=part.rows,
                questions=part.questions,
                last_rank=part.last_rank,
                without_evidence=part.without_evidence,
            )
            for source, (part, origin) in zip(corpus.sets, gathered, strict=True)
        ),
        passages=len(distinct),
        passages_file=f"passages-{sha256[:8]}.jsonl",
        passages_sha256=sha256,
        made_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with writing_to(folder):
        atomic_io.write_atomic(folder / manifest.passages_file, [content])
        atomic_io.write_atomic(folder / MANIFEST, [atomic_io.encode_text(manifest.model_dump_json(indent=2, by_alias=True) + "\n")])
        remove_others(folder, "passages-*.jsonl", manifest.passages_file)
    return manifest


def load(corpus: CorpusSource, remedy: str) -> StoredCorpus:
    """Open a stored corpus, and compare its bytes with the manifest; cached until either file changes.

    Args:
        corpus: its description.
        remedy: the command that restores it, for messages.

    Raises:
        DataError: it is missing, or differs from what was stored.
    """
    path = home() / corpus.name / MANIFEST
    if not path.is_file():
        raise DataError(f"the corpus {corpus.name} is not in {home()}; fetch it: {remedy}")
    stored = _stored(path.parent, stamp_of(path, remedy), remedy)
    _require_unchanged(stored, stamp_of(stored.path, remedy), remedy)
    return stored


@lru_cache(maxsize=16)
def _stored(folder: Path, manifest_stamp: Stamp, remedy: str) -> StoredCorpus:
    """Open a corpus once, as long as its manifest does not change."""
    manifest = read_manifest(CorpusManifest, folder / MANIFEST, remedy)
    return StoredCorpus(manifest, folder / manifest.passages_file)


@lru_cache(maxsize=16)
def _require_unchanged(stored: StoredCorpus, stamp: Stamp, remedy: str) -> None:
    with reading_stored(stored.path, remedy):
        found = foreign_files.sha256(stored.path.resolve())
    if found != stored.manifest.passages_sha256:
        raise DataError(f"{stored.path} is not the file that was stored (its SHA-256 differs from the manifest's); bring it back: {remedy}")
