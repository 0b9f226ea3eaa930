"""Record and replay: each retrieval in a file of its own, named by its request, with its content's hash and its date.

    <folder>/3f/3fa2b1c0….json   {"request": {retriever, query, top_k}, "retrieved_utc": …, "passages": […], "sha256": …}

`record` answers from the record where it can, and otherwise asks the retriever and records the result; so a resumed run gets what it
got before. `replay` answers from the record alone: it does not open a retriever or use the network, and refuses a request that is missing.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

from espl_bench.retrieval.retriever import FoundPassage, Passage, RetrievalError, Retriever
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.foreign_json import parse_object


class CacheMode(StrEnum):
    """How retrievals are cached."""

    OFF = "off"
    RECORD = "record"
    REPLAY = "replay"


class CachedRetriever:
    """A retriever with a record; in `REPLAY`, the record alone."""

    def __init__(self, identity: str, folder: Path, open_inner: Callable[[], Retriever] | None) -> None:
        """Open the retriever, if any; the record is read on demand.

        Args:
            identity: identity of the retriever that is or was asked.
            folder: folder of the record. Runs may share it, even at the same time.
            open_inner: opens the retriever; None: replay.
        """
        self._identity = identity
        self._folder = folder
        self._inner = open_inner() if open_inner else None

    @property
    def identity(self) -> str:
        """Return the retriever's own identity: a record does not change results."""
        return self._identity

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[FoundPassage]:
        """Retrieve from the record, or from the retriever into the record."""
        recorded = {query: self._read(query, top_k) for query in dict.fromkeys(queries)}
        missing = [query for query, result in recorded.items() if result is None]
        if missing and self._inner is None:
            raise RetrievalError(
                f"the record in {self._folder} has no answer to the query {missing[0][:80]!r} (top {top_k}) by {self._identity}; "
                "run once with --retrieval-cache record"
            )
        if missing and self._inner is not None:
            for query, result in zip(missing, self._inner.retrieve(missing, top_k), strict=True):
                self._write(query, top_k, result)
                recorded[query] = result
        return [result for query in queries if (result := recorded[query]) is not None]

    def _request(self, query: str, top_k: int) -> dict[str, Any]:
        return {"retriever": self._identity, "query": query, "top_k": top_k}

    def _path(self, request: Mapping[str, Any]) -> Path:
        key = hashlib.sha256(_canonical(request)).hexdigest()
        return self._folder / key[:2] / f"{key}.json"

    def _read(self, query: str, top_k: int) -> FoundPassage | None:
        """Read the recorded result; None if there is none. Raises RetrievalError for a damaged entry."""
        request = self._request(query, top_k)
        path = self._path(request)
        try:
            entry = parse_object(foreign_files.read_record(path, self._folder))
            passages, date = entry["passages"], entry["retrieved_utc"]
            if entry["request"] != request or entry["sha256"] != hashlib.sha256(_canonical(passages)).hexdigest():
                raise ValueError("its hash differs")
            return FoundPassage(query, tuple(Passage(**passage) for passage in passages), date)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RetrievalError(f"the recorded retrieval {path} is damaged ({error}); remove the file to retrieve it again") from error

    def _write(self, query: str, top_k: int, result: FoundPassage) -> None:
        request = self._request(query, top_k)
        passages = [asdict(passage) for passage in result.passages]
        entry = {
            "request": request,
            "retrieved_utc": result.retrieved_utc,
            "passages": passages,
            "sha256": hashlib.sha256(_canonical(passages)).hexdigest(),
        }
        path = self._path(request)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            foreign_files.make_folder(path.parent, self._folder)
            atomic_io.write_atomic(path, [json.dumps(entry, ensure_ascii=True).encode("ascii")], self._folder)
        except OSError as error:
            raise RetrievalError(f"{path} cannot be written ({error.strerror or error}); free space, or name another folder") from error


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode("ascii")
