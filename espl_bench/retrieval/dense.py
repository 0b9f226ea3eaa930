"""Back end `dense`: embeddings of a local corpus by a sentence-transformers model, searched exactly.

Vectors are normalised and compared by their inner product: with FAISS where it is installed, else as one matrix. They are computed
once and kept in the data home, under a name made of the corpus's hash and the model.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# the libraries below are partly untyped

import json
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from espl_bench.errors import DataError, ModelError, UsageError, first_line
from espl_bench.retrieval.corpus import PassageStore, read_corpus
from espl_bench.retrieval.paths import corpus_sha256, index_folder, new_folder
from espl_bench.retrieval.retriever import FoundPassage, Passage, now_utc
from espl_bench.utils import atomic_io
from espl_bench.utils.hashing import fingerprint
from espl_bench.utils.model_folder import NO_CODE, refusal_of, refuse_unsafe
from espl_bench.utils.progress import progress_bar

VECTORS: Final = "vectors.npy"
COMPLETE: Final = "complete.json"
BATCH: Final = 256
MAX_CHARS: Final = 2_000
"""Maximum characters of an embedded text; models read a few hundred words."""


def identity_of(corpus_hash: str, embedder: str) -> str:
    """Name the model, by its files if it is a folder, and the corpus's hash."""
    folder = Path(embedder)
    named = f"{folder.name} {json.dumps(fingerprint(folder), sort_keys=True)}" if folder.is_dir() else embedder
    return f"dense by {named} of {corpus_hash}"


def _load(embedder: str) -> Any:
    """Load the model. Raises UsageError without the package, ModelError if it cannot be loaded."""
    try:
        package: Any = import_module("sentence_transformers")
    except ModuleNotFoundError as error:
        raise UsageError(f"retriever dense needs {error.name}; install it with: pip install 'espl-bench[dense]'") from error
    try:
        folder = embedder if Path(embedder).is_dir() else _fetched(embedder)
        refuse_unsafe(folder)
        return package.SentenceTransformer(folder, **NO_CODE, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError) as error:
        if refusal := refusal_of(embedder, error):
            raise ModelError(refusal) from error
        raise ModelError(
            f"cannot load the embedder '{embedder}': {first_line(error)}; give a folder or a hub id with --embedder"
        ) from error


def _fetched(embedder: str) -> str:
    """Return the folder of a hub id, without any code or pickle that it has. Raises OSError or ValueError if it cannot be fetched."""
    hub: Any = import_module("huggingface_hub")
    return hub.snapshot_download(embedder, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors", "*.md"])


class DenseRetriever:
    """Retriever of one corpus with one model. Made by `open`."""

    def __init__(self, identity: str, folder: Path, model: Any) -> None:
        """Map complete vectors."""
        self._identity = identity
        self._model = model
        self._embedding = threading.Lock()
        self._passages = PassageStore(folder)
        self._vectors_ND: NDArray[np.float32] = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
        self._faiss = _faiss_index(self._vectors_ND)

    @classmethod
    def open(cls, corpus: Path, embedder: str) -> "DenseRetriever":
        """Return the retriever of a corpus, computing its vectors if there are none yet.

        Raises:
            UsageError: the corpus does not exist, or a package is missing.
            ModelError: the embedder cannot be loaded.
            DataError: the corpus cannot be read, or the vectors cannot be written.
        """
        model = _load(embedder)
        identity = identity_of(corpus_sha256(corpus), embedder)
        folder = index_folder("dense", identity)
        if not (folder / COMPLETE).is_file():
            _build(corpus, folder, model)
        try:
            return cls(identity, folder, model)
        except (OSError, ValueError) as error:
            raise DataError(f"the index in {folder} is damaged ({error}); remove the folder to rebuild it") from error

    @property
    def identity(self) -> str:
        """Return the model and the corpus's hash."""
        return self._identity

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[FoundPassage]:
        """Return the passages nearest to each query."""
        few = min(top_k, len(self._passages))
        if not queries or few < 1:
            return [FoundPassage(query, (), now_utc()) for query in queries]
        with self._embedding:
            vectors_QD = _embed(self._model, [query[:MAX_CHARS] for query in queries])
        scores_QK, rows_QK = self._nearest(vectors_QD, few)
        date = now_utc()
        return [
            FoundPassage(query, tuple(self._passage(int(row), float(score)) for row, score in zip(rows, scores, strict=True)), date)
            for query, rows, scores in zip(queries, rows_QK, scores_QK, strict=True)
        ]

    def _nearest(self, vectors_QD: NDArray[np.float32], few: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if self._faiss is not None:
            return self._faiss.search(vectors_QD, few)
        scores_QN = vectors_QD @ self._vectors_ND.T
        rows_QK = np.argsort(-scores_QN, axis=1, kind="stable")[:, :few]
        return np.take_along_axis(scores_QN, rows_QK, axis=1), rows_QK

    def _passage(self, row: int, score: float) -> Passage:
        document = self._passages[row]
        return Passage(document.id, document.title, document.text, score)


def _faiss_index(vectors_ND: NDArray[np.float32]) -> Any:
    if find_spec("faiss") is None:
        return None
    faiss: Any = import_module("faiss")
    index = faiss.IndexFlatIP(vectors_ND.shape[1])
    index.add(np.ascontiguousarray(vectors_ND))
    return index


def _embed(model: Any, texts: Sequence[str]) -> NDArray[np.float32]:
    vectors = model.encode(list(texts), batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True)
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _build(corpus: Path, folder: Path, model: Any) -> None:
    with new_folder(folder, f"the index of {corpus}") as part:
        texts = [f"{document.title}\n{document.text}"[:MAX_CHARS] for document in PassageStore.write(part, read_corpus(corpus))]
        blocks: list[NDArray[np.float32]] = []
        with progress_bar(f"embedding {corpus.name}", len(texts)) as advance:
            for start in range(0, len(texts), BATCH):
                blocks.append(_embed(model, texts[start : start + BATCH]))
                advance(len(blocks[-1]))
        if not blocks:
            raise DataError(f"the corpus {corpus} has no passages")
        np.save(part / VECTORS, np.concatenate(blocks))
        atomic_io.write_atomic(part / COMPLETE, [json.dumps({"passages": len(texts)}).encode()])
