"""Embeddings searched exactly, with a small embedder made here; without the packages, one line says what to install."""

import sys
from pathlib import Path

import pytest
from data_fixtures import write_jsonl
from retrieval_fixtures import PASSAGES, ids

from espl_bench.errors import ModelError, UsageError
from espl_bench.retrieval import dense
from espl_bench.retrieval.open_retriever import RetrieverOptions, forget_retrievers, identity_of


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESPL_BENCH_DATA", str(tmp_path / "home"))
    forget_retrievers()
    return tmp_path / "home"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "corpus.jsonl", PASSAGES)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bag of words: each word of the passages is a direction of its own."""
    package = pytest.importorskip("sentence_transformers")
    bag_of_words = pytest.importorskip("sentence_transformers.models").BoW

    words = sorted({word.strip(".,:()").lower() for passage in PASSAGES for word in f"{passage['title']} {passage['text']}".split()})
    folder = tmp_path_factory.mktemp("embedder")
    package.SentenceTransformer(modules=[bag_of_words(vocab=words)], device="cpu").save(str(folder))
    return str(folder)


@pytest.mark.parametrize("with_faiss", [True, False])
def test_the_nearest_passages_are_found_with_and_without_faiss(
    with_faiss: bool, corpus: Path, embedder: str, monkeypatch: pytest.MonkeyPatch
):
    if with_faiss:
        pytest.importorskip("faiss")
    monkeypatch.setattr(dense, "find_spec", lambda name: object() if with_faiss else None)
    retriever = dense.DenseRetriever.open(corpus, embedder)
    found = retriever.retrieve(["a spirit in akkadian belief", "the largest city", "an american singer"], 2)
    assert [ids(each)[0] for each in found] == ["a", "c", "b"]
    assert all(1 >= each.passages[0].score >= each.passages[1].score for each in found) and len(found[0].passages) == 2
    assert dense.DenseRetriever.open(corpus, embedder).retrieve(["singer"], 99)[0].passages[0].id == "b"
    assert retriever.retrieve([], 2) == [] and retriever.identity == identity_of(
        RetrieverOptions("dense", corpus=str(corpus), embedder=embedder)
    )


def test_an_embedder_that_is_none_is_one_line(corpus: Path, tmp_path: Path):
    pytest.importorskip("sentence_transformers")
    with pytest.raises(ModelError, match="--embedder"):
        dense.DenseRetriever.open(corpus, str(tmp_path / "nowhere" / "at" / "all"))


def test_without_the_package_the_extra_is_named(corpus: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UsageError, match=r"espl-bench\[dense\]"):
        dense.DenseRetriever.open(corpus, "any")
