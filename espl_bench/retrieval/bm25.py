"""Back end `bm25`: lexical search in a local corpus with `bm25s`, from an index that is built once and memory-mapped.

The index is kept in the data home under a name made of the corpus's hash and the settings, so a changed corpus gets another index,
and several runs share one. Words are lower-cased, stripped of accents and stemmed; title and text are searched together.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# the libraries below are partly untyped

import json
import os
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from espl_bench.errors import DataError, UsageError
from espl_bench.retrieval.corpus import Document, PassageStore, read_corpus
from espl_bench.retrieval.paths import corpus_sha256, index_folder, new_folder
from espl_bench.retrieval.retriever import FoundPassage, Passage, now_utc
from espl_bench.utils import atomic_io
from espl_bench.utils.progress import progress_bar

K1: Final = 0.9
B: Final = 0.4
"""The settings usual for Wikipedia passages (Pyserini's)."""
FORM: Final = "1"
"""Format of the index; another number gives another index."""
VOCABULARY: Final = "vocabulary.json"
COMPLETE: Final = "complete.json"
MAX_QUERY_CHARS: Final = 2_000
_WORD = re.compile(r"[^\W_]+")
_SHOWN_EVERY: Final = 2_000


def identity_of(corpus_hash: str, k1: float, b: float) -> str:
    """Name the settings and the corpus's hash."""
    return f"bm25(k1={k1:g}, b={b:g}, form {FORM}) of {corpus_hash}"


class Vocabulary:
    """Maps texts to word numbers, for passages and queries alike."""

    def __init__(self, vocabulary: dict[str, int] | None = None) -> None:
        """Start empty, or with an index's words. Raises UsageError without the packages."""
        try:
            stemmer: Any = import_module("Stemmer")
            stopwords: Any = import_module("bm25s.stopwords")
        except ModuleNotFoundError as error:
            raise UsageError(f"retriever bm25 needs {error.name}; install it with: pip install 'espl-bench[search]'") from error
        self._stem = stemmer.Stemmer("english").stemWord
        self._stopwords = frozenset(stopwords.STOPWORDS_EN)
        self.vocabulary: dict[str, int] = {} if vocabulary is None else vocabulary
        self._known: dict[str, int | None] = {}
        self._stemming = threading.Lock()  # a stemmer has a cache, which threads must not share

    def learn(self, text: str) -> NDArray[np.int32]:
        """Return the word numbers of a passage, adding new words; shape (words,)."""
        numbers: list[int] = []
        for word in _split(text):
            if word not in self._known:
                self._known[word] = None if word in self._stopwords else self._number(self._stem(word))
            number = self._known[word]
            if number is not None:
                numbers.append(number)
        return np.asarray(numbers, dtype=np.int32)

    def find(self, text: str) -> list[int]:
        """Return the numbers of a query's words that occur in some passage."""
        with self._stemming:
            stems = [self._stem(word) for word in _split(text) if word not in self._stopwords]
        return [self.vocabulary[stem] for stem in stems if stem in self.vocabulary]

    def _number(self, stem: str) -> int:
        return self.vocabulary.setdefault(stem, len(self.vocabulary))


def _split(text: str) -> list[str]:
    if not text.isascii():
        text = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return _WORD.findall(text.lower())


class Bm25Retriever:
    """Retriever of one corpus. Made by `open`."""

    def __init__(self, identity: str, folder: Path) -> None:
        """Map a complete index."""
        bm25s: Any = import_module("bm25s")
        self._identity = identity
        self._words = Vocabulary(json.loads((folder / VOCABULARY).read_text(encoding="utf-8")))
        self._index = bm25s.BM25.load(folder, mmap=True, load_vocab=False, show_progress=False, allow_pickle=False)
        self._passages = PassageStore(folder)
        self._scoring = threading.Semaphore(os.cpu_count() or 1)  # a query scores every passage: more queries at once only take more memory

    @classmethod
    def open(cls, corpus: Path, k1: float = K1, b: float = B) -> "Bm25Retriever":
        """Return the retriever of a corpus, building its index if there is none yet.

        Raises:
            UsageError: the corpus does not exist, or a package is missing.
            DataError: it cannot be read, or the index cannot be written.
        """
        Vocabulary()  # checks the packages before any long work
        identity = identity_of(corpus_sha256(corpus), k1, b)
        folder = index_folder("bm25", identity)
        if not (folder / COMPLETE).is_file():
            build(corpus, folder, k1, b)
        try:
            return cls(identity, folder)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"the index in {folder} is damaged ({error}); remove the folder to rebuild it") from error

    @property
    def identity(self) -> str:
        """Return the settings and the corpus's hash."""
        return self._identity

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[FoundPassage]:
        """Return the passages with the highest BM25 scores above 0; of equal scores, the first in the corpus."""
        date = now_utc()
        return [FoundPassage(query, self._best(query[:MAX_QUERY_CHARS], top_k), date) for query in queries]

    def _best(self, query: str, top_k: int) -> tuple[Passage, ...]:
        words = self._words.find(query)
        if not words or top_k < 1:
            return ()
        with self._scoring:
            rows, scores = self._score(words, top_k)
        return tuple(self._passage(int(row), float(score)) for row, score in zip(rows, scores, strict=True))

    def _score(self, words: list[int], top_k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and scores of the best passages, both of shape (at most top_k,)."""
        scores: NDArray[np.float32] = self._index.get_scores_from_ids(words)
        rows = np.flatnonzero(scores > 0)  # most scores are 0, and numpy partitions slowly among many equal ones
        if len(rows) > top_k:
            positive = scores[rows]
            rows = rows[positive >= np.partition(positive, len(positive) - top_k)[len(positive) - top_k]]
        best = rows[np.argsort(-scores[rows], kind="stable")][:top_k]
        return best, scores[best]

    def _passage(self, row: int, score: float) -> Passage:
        document = self._passages[row]
        return Passage(document.id, document.title, document.text, score)


def build(corpus: Path, folder: Path, k1: float, b: float) -> None:
    """Build an index. Raises DataError if the corpus cannot be read, has no words, or the index cannot be written."""
    with new_folder(folder, f"the index of {corpus}") as part:
        _build(corpus, part, k1, b)


def _build(corpus: Path, part: Path, k1: float, b: float) -> None:
    bm25s: Any = import_module("bm25s")
    words = Vocabulary()
    with progress_bar(f"reading {corpus.name}", None) as advance:
        numbered = [words.learn(text) for text in _texts(PassageStore.write(part, read_corpus(corpus)), advance)]
    if not words.vocabulary:
        raise DataError(f"the corpus {corpus} has no words to search for")
    index = bm25s.BM25(method="lucene", k1=k1, b=b)
    with progress_bar(f"indexing {len(numbered):,} passages", None):
        index.index((numbered, words.vocabulary), create_empty_token=False, show_progress=False)
    index.save(part, show_progress=False)
    atomic_io.write_atomic(part / VOCABULARY, [json.dumps(words.vocabulary, ensure_ascii=True).encode()])
    atomic_io.write_atomic(part / COMPLETE, [json.dumps({"passages": len(numbered), "k1": k1, "b": b}).encode()])


def _texts(documents: Iterator[Document], advance: Callable[[int], None]) -> Iterator[str]:
    for number, document in enumerate(documents, start=1):
        if number % _SHOWN_EVERY == 0:
            advance(_SHOWN_EVERY)
        yield f"{document.title}\n{document.text}"
