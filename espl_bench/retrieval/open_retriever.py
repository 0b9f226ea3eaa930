"""Build a retriever from options; all episodes of a process share it. Each back end loads its packages when it is opened."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from espl_bench.errors import UsageError, unknown
from espl_bench.retrieval.cache import CachedRetriever, CacheMode
from espl_bench.retrieval.paths import cache_folder, corpus_sha256
from espl_bench.retrieval.retriever import Retriever

KINDS: Final[Mapping[str, str]] = {
    "bm25": "lexical search in a local corpus",
    "dense": "search by embeddings in a local corpus",
    "http": "a server that speaks Search-R1's wire format",
    "ddgs": "the live web",
}
LOCAL: Final = ("bm25", "dense")
"""Those that search a local corpus."""


@dataclass(frozen=True, slots=True)
class RetrieverOptions:
    """Options of a user. Equal options open the same retriever."""

    retriever: str = "bm25"
    corpus: str | None = None
    """File of passages, for `bm25` and `dense`."""
    retriever_url: str | None = None
    """Address, for `http`."""
    retriever_timeout: float = 20.0
    """Seconds that one try over a network may take."""
    embedder: str | None = None
    """Folder or hub id of a sentence-transformers model, for `dense`."""
    pages: bool = False
    """For `ddgs`: fetch the pages found, instead of only their snippets."""
    retrieval_cache: str | None = None
    """`off`, `record` or `replay`; None: `record` for the live web, else `off`."""
    retrieval_cache_dir: str | None = None
    """None: in the data home."""

    def __post_init__(self) -> None:
        """Raise UsageError for options that are invalid or would have no effect."""
        if self.retriever not in KINDS:
            raise unknown("retriever", str(self.retriever), KINDS)
        if self.retrieval_cache is not None and self.retrieval_cache not in list(CacheMode):
            raise unknown("--retrieval-cache value", str(self.retrieval_cache), CacheMode)
        needs = {"bm25": ("corpus",), "dense": ("corpus", "embedder"), "http": ("retriever_url",), "ddgs": ()}
        for option in needs[self.retriever]:
            if not getattr(self, option):
                raise UsageError(f"retriever {self.retriever} ({KINDS[self.retriever]}) needs --{option.replace('_', '-')}")
        if not self.retriever_timeout > 0:
            raise UsageError(f"retriever_timeout must be above 0, not {self.retriever_timeout!r}")

    @property
    def corpus_path(self) -> Path:
        """File of passages."""
        return Path(self.corpus or "").expanduser()

    @property
    def mode(self) -> CacheMode:
        """Cache mode of retrievals."""
        if self.retrieval_cache is None:
            return CacheMode.RECORD if self.retriever == "ddgs" else CacheMode.OFF
        return CacheMode(self.retrieval_cache)


_OPENING: Final = threading.Lock()


def open_retriever(options: RetrieverOptions) -> Retriever:
    """Open the retriever, once for all threads. Raises UsageError or DataError in one line if it cannot be opened."""
    with _OPENING:  # episodes ask all at once for the first time: each would build the index
        return _opened(options)


def forget_retrievers() -> None:
    """Let the next caller open a retriever anew, e.g. in another data home."""
    _opened.cache_clear()


@lru_cache(maxsize=8)
def _opened(options: RetrieverOptions) -> Retriever:
    if options.mode is CacheMode.OFF:
        return _open(options)
    folder = Path(options.retrieval_cache_dir).expanduser() if options.retrieval_cache_dir else cache_folder()
    if options.mode is CacheMode.REPLAY:
        return CachedRetriever(identity_of(options), folder, None)
    return CachedRetriever(identity_of(options), folder, lambda: _open(options))


def identity_of(options: RetrieverOptions) -> str:
    """Return a retriever's identity without opening it. Raises UsageError if the corpus cannot be read."""
    match options.retriever:
        case "bm25":
            from espl_bench.retrieval import bm25

            return bm25.identity_of(corpus_sha256(options.corpus_path), bm25.K1, bm25.B)
        case "dense":
            from espl_bench.retrieval import dense

            return dense.identity_of(corpus_sha256(options.corpus_path), options.embedder or "")
        case "http":
            from espl_bench.retrieval.http import identity_of

            return identity_of(options.retriever_url or "")
        case _:
            from espl_bench.retrieval.web import identity_of

            return identity_of(options.pages)


def require_packages(kind: str) -> None:
    """Raise UsageError if the back end of `bm25` lacks a package, before anything is fetched for it."""
    if kind == "bm25":
        from espl_bench.retrieval.bm25 import Vocabulary

        Vocabulary()


def _open(options: RetrieverOptions) -> Retriever:
    match options.retriever:
        case "bm25":
            from espl_bench.retrieval.bm25 import Bm25Retriever

            return Bm25Retriever.open(options.corpus_path)
        case "dense":
            from espl_bench.retrieval.dense import DenseRetriever

            return DenseRetriever.open(options.corpus_path, options.embedder or "")
        case "http":
            from espl_bench.retrieval.http import HttpRetriever

            return HttpRetriever(options.retriever_url or "", options.retriever_timeout)
        case _:
            from espl_bench.retrieval.web import WebRetriever

            return WebRetriever(options.pages, options.retriever_timeout)
