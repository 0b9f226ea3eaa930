"""Convert user files to an on-disk format with random access to passages.

Accepted are ``.jsonl``, ``.json``, ``.csv`` and ``.parquet`` with the columns ``id`` (or none: the row's number), ``title`` (or
none) and ``text``; or ``contents``, as Search-R1's corpora have it: the title in quotes on the first line, then the text.
"""

import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from espl_bench.data.files import read_records
from espl_bench.errors import DataError, UsageError

PASSAGES: Final = "passages.jsonl"
OFFSETS: Final = "offsets.npy"


@dataclass(frozen=True, slots=True)
class Document:
    """One passage of a corpus."""

    id: str
    title: str
    text: str


def split_contents(contents: str) -> tuple[str, str]:
    """Split Search-R1's ``contents`` into title and text."""
    title, _, text = contents.partition("\n")
    return title.strip().strip('"'), text.strip()


def document_of(record: Mapping[str, Any], row: int, where: str) -> Document:
    """Convert one record to a passage. Raises DataError, naming the row, if it has no text."""
    name = str(record.get("id", row))
    if isinstance(record.get("contents"), str):
        title, text = split_contents(record["contents"])
    else:
        title, text = str(record.get("title") or ""), record.get("text")
    if not isinstance(text, str) or not (title or text.strip()):
        raise DataError(f"{where}: row {row}, counted from 0, has no text; a passage has id, title and text, or contents")
    return Document(name, title, text)


def read_corpus(path: Path) -> Iterator[Document]:
    """Yield the passages of a file, in order. Raises UsageError if it does not exist, DataError if it is malformed."""
    if not path.is_file():
        raise UsageError(f"the corpus {path} does not exist in {Path.cwd()}; name a file of passages with --corpus")
    for row, record in enumerate(read_records(path)):
        yield document_of(record, row, str(path))


class PassageStore:
    """The passages of a corpus on disk, memory-mapped and read one at a time."""

    def __init__(self, folder: Path) -> None:
        """Open a folder that `write` filled. Raises OSError or ValueError if it is damaged."""
        self._offsets = np.load(folder / OFFSETS, mmap_mode="r", allow_pickle=False)
        with (folder / PASSAGES).open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> Document:
        return Document(*json.loads(self._bytes[int(self._offsets[row]) : int(self._offsets[row + 1])]))

    @staticmethod
    def write(folder: Path, documents: Iterator[Document]) -> Iterator[Document]:
        """Write passages into a folder as they pass through. Complete once the iterator is exhausted."""
        offsets = [0]
        with (folder / PASSAGES).open("wb") as file:
            for document in documents:
                line = json.dumps([document.id, document.title, document.text], ensure_ascii=True).encode("ascii") + b"\n"
                file.write(line)
                offsets.append(offsets[-1] + len(line))
                yield document
        np.save(folder / OFFSETS, np.asarray(offsets, dtype=np.int64))
