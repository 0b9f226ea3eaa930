"""Retrieval: a local index, the wire, the web behind its limiter, the record, and whatever of it may be down, slow, garbage or hostile."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from data_fixtures import write_jsonl
from ddgs.exceptions import DDGSException, RatelimitException
from retrieval_fixtures import PASSAGES, ids

from espl_bench.cli.app import invoke
from espl_bench.errors import DataError, UsageError
from espl_bench.retrieval import bm25
from espl_bench.retrieval.bm25 import Bm25Retriever
from espl_bench.retrieval.cache import CachedRetriever
from espl_bench.retrieval.http import HttpRetriever
from espl_bench.retrieval.http_server import RetrieverServer
from espl_bench.retrieval.open_retriever import RetrieverOptions, forget_retrievers, open_retriever
from espl_bench.retrieval.retriever import FoundPassage, Passage, RetrievalError
from espl_bench.retrieval.web import Limiter, WebRetriever


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESPL_BENCH_DATA", str(tmp_path / "home"))
    forget_retrievers()
    return tmp_path / "home"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "corpus.jsonl", PASSAGES)


# The local index


def test_passages_are_found_by_title_and_text_without_case_accents_or_endings(corpus: Path):
    retriever = Bm25Retriever.open(corpus)
    queries = ["LILU", "spirits", "beyonce", "which cities are in Texas ?", "nothing like that zzz", "", "the of and"]
    found = retriever.retrieve(queries, 2)
    assert [each.query for each in found] == queries
    assert [ids(each)[:1] for each in found] == [["a"], ["a"], ["b"], ["c"], [], [], []]
    [houston] = retriever.retrieve(["Houston"], 5)
    assert ids(houston) == ["c", "b"] and houston.passages[0].score > houston.passages[1].score > 0
    assert houston.passages[0].text == PASSAGES[2]["text"] and houston.retrieved_utc.startswith("20")


def test_an_index_is_built_once_and_another_corpus_is_another_index(corpus: Path, own_home: Path):
    def built() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (own_home / "retrieval").iterdir()}

    first = Bm25Retriever.open(corpus).identity
    once = built()
    assert Bm25Retriever.open(corpus).identity == first and built() == once
    write_jsonl(corpus, PASSAGES[:2])
    assert Bm25Retriever.open(corpus).identity != first and len(built()) == 2
    assert ids(Bm25Retriever.open(corpus).retrieve(["Houston"], 5)[0]) == ["b"]


def test_searching_is_the_same_in_many_threads(corpus: Path):
    retriever = Bm25Retriever.open(corpus)
    queries = ["houston city", "akkadian spirit", "american singers"] * 30
    alone = [ids(each) for each in retriever.retrieve(queries, 3)]
    with ThreadPoolExecutor(16) as threads:
        assert [ids(each[0]) for each in threads.map(lambda query: retriever.retrieve([query], 3), queries)] == alone


def test_search_r1s_corpora_are_read_and_parquet_too(tmp_path: Path):
    import pyarrow
    import pyarrow.parquet

    contents = [{"id": each["id"], "contents": f'"{each["title"]}"\n{each["text"]}'} for each in PASSAGES]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(contents), tmp_path / "corpus.parquet")
    [found] = Bm25Retriever.open(tmp_path / "corpus.parquet").retrieve(["lilu"], 1)
    assert (found.passages[0].title, found.passages[0].text) == ("Lilu (mythology)", PASSAGES[0]["text"])


def test_what_is_no_corpus_is_one_line_and_leaves_nothing(tmp_path: Path, own_home: Path):
    with pytest.raises(UsageError, match="--corpus"):
        Bm25Retriever.open(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match="row 1, counted from 0, has no text"):
        Bm25Retriever.open(write_jsonl(tmp_path / "bad.jsonl", [{"text": "a word"}, {"title": 3}]))
    with pytest.raises(DataError, match="no words"):
        Bm25Retriever.open(write_jsonl(tmp_path / "stop.jsonl", [{"text": "the of"}]))
    assert list((own_home / "retrieval").iterdir()) == []


def test_a_damaged_index_says_what_to_do(corpus: Path, own_home: Path):
    Bm25Retriever.open(corpus)
    [folder] = (own_home / "retrieval").iterdir()
    (folder / "offsets.npy").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="remove the folder"):
        Bm25Retriever.open(corpus)


# The wire


@contextmanager
def serving(retriever):
    with RetrieverServer(("127.0.0.1", 0), retriever) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_served_index_answers_as_the_local_one(corpus: Path):
    local = Bm25Retriever.open(corpus)
    queries = ["Houston", "lilu", "nothing zzz"]
    with serving(local) as url:
        remote = HttpRetriever(url).retrieve(queries, 2)
        raw = httpx2.post(f"{url}/retrieve", json={"queries": ["lilu"], "topk": 1}).json()
        health = httpx2.get(f"{url}/health").json()
    assert [each.passages for each in remote] == [each.passages for each in local.retrieve(queries, 2)]
    assert raw == {"result": [[{"id": "a", "contents": f'"Lilu (mythology)"\n{PASSAGES[0]["text"]}'}]]}, "Search-R1's form"
    assert health == {"status": "ok", "retriever": local.identity}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{nope", "JSON object"),
        (b"[" * 5000, "JSON object"),
        (b'{"queries": "lilu"}', "list of texts"),
        (b'{"queries": ["a"], "topk": 1000}', "topk"),
        (json.dumps({"queries": ["a"] * 257}).encode(), "at most 256"),
        (b" " * (2**20 + 1), "at most 1048576 bytes"),
    ],
)
def test_a_server_refuses_what_it_does_not_understand(corpus: Path, body: bytes, says: str):
    with serving(Bm25Retriever.open(corpus)) as url:
        answer = httpx2.post(f"{url}/retrieve", content=body)
        assert answer.status_code == 422 and says in answer.json()["detail"]
        assert httpx2.post(f"{url}/other", json={}).status_code == 404
        assert HttpRetriever(url).retrieve(["lilu"], 1)[0].passages, "and goes on serving"


class Odd(BaseHTTPRequestHandler):
    """A server that behaves as it is told."""

    behave = staticmethod(lambda handler: None)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).behave(self)

    def answer(self, content: bytes, status: int = 200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def odd_server(behave):
    handler = type("Behaves", (Odd,), {"behave": staticmethod(behave)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def drips(handler):
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):  # until the client has gone
        while True:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)


def keeps_silent(handler):
    handler.connection.recv(1)  # until the client has gone


NEVER_ENDS = (drips, keeps_silent)


@pytest.mark.parametrize(
    ("behave", "says"),
    [
        (lambda handler: handler.answer(b"<html>"), "invalid JSON"),
        (lambda handler: handler.answer(b"[" * 100_000), "invalid JSON"),
        (lambda handler: handler.answer(b'{"result": []}'), "one result for each of 1"),
        (lambda handler: handler.answer(b'{"result": [[{"document": {"id": 1}}]]}'), "malformed passages"),
        (lambda handler: handler.answer(b'{"result": [[17]]}'), "malformed passages"),
        (lambda handler: handler.answer(b"", 404), "status 404"),
        (lambda handler: handler.answer(b"", 503), "status 503, after 2 tries"),
        (lambda handler: handler.answer(b" " * (17 * 2**20)), "more than 16 MiB"),
        (keeps_silent, "does not answer"),
        (drips, "more than 0.5 s"),
    ],
)
def test_whatever_a_server_does_is_a_fault_after_a_bounded_time(behave, says: str):
    with odd_server(behave) as url:
        timeout_s = 0.5 if behave in NEVER_ENDS else 300.0
        with pytest.raises(RetrievalError) as fault:
            HttpRetriever(url, timeout_s=timeout_s, tries=2).retrieve(["a"], 1)
        assert says in str(fault.value) and "\n" not in str(fault.value) and url in str(fault.value)


def test_a_server_that_is_down_is_a_fault_and_one_that_recovers_is_not(corpus: Path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(RetrievalError, match="after 3 tries"):
            HttpRetriever(down, timeout_s=1).retrieve(["a"], 1)
    asked = []

    def second_time(handler):
        asked.append(1)
        handler.answer(b"", 503) if len(asked) == 1 else handler.answer(b'{"result": [[{"id": "x", "contents": "\\"T\\"\\nt"}]]}')

    with odd_server(second_time) as url:
        [found] = HttpRetriever(url).retrieve(["a"], 1)
    assert found.passages == (Passage("x", "T", "t", 0.0),)


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8000", "http://me:secret@x", "http://x?key=1", ""])
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(UsageError, match="--retriever-url"):
        HttpRetriever(url)


# The record


class Counting:
    """A retriever that counts what it is asked."""

    identity = "counting"

    def __init__(self):
        self.asked = []

    def retrieve(self, queries, top_k):
        self.asked.extend(queries)
        return [
            FoundPassage(query, (Passage(query, "t", f"text of {query} {len(self.asked)}", 1.5),), "2026-01-01T00:00:00+00:00")
            for query in queries
        ]


def test_what_was_recorded_is_replayed_to_the_letter_without_a_retriever(tmp_path: Path):
    inner = Counting()
    record = CachedRetriever("counting", tmp_path, lambda: inner)
    first = record.retrieve(["a", "b", "a"], 2)
    assert inner.asked == ["a", "b"] and record.retrieve(["b", "a"], 2) == [first[1], first[0]] and inner.asked == ["a", "b"]
    replayed = CachedRetriever("counting", tmp_path, None).retrieve(["a", "b", "a"], 2)
    assert replayed == first and replayed[0].retrieved_utc == "2026-01-01T00:00:00+00:00", "with the date it was retrieved"


def test_a_replay_refuses_a_miss_in_one_line(tmp_path: Path):
    CachedRetriever("counting", tmp_path, Counting).retrieve(["a"], 2)
    for query, top_k, identity in (("b", 2, "counting"), ("a", 3, "counting"), ("a", 2, "another")):
        with pytest.raises(RetrievalError, match=r"has no answer to the query .* run once with --retrieval-cache record"):
            CachedRetriever(identity, tmp_path, None).retrieve([query], top_k)


def test_a_damaged_record_is_named_and_never_used(tmp_path: Path):
    CachedRetriever("counting", tmp_path, Counting).retrieve(["a"], 2)
    [path] = tmp_path.rglob("*.json")
    path.write_text(path.read_text().replace("text of a", "text of b"))
    with pytest.raises(RetrievalError, match=r"is damaged .its hash differs"):
        CachedRetriever("counting", tmp_path, None).retrieve(["a"], 2)


def test_many_threads_may_record_the_same(tmp_path: Path):
    record = CachedRetriever("counting", tmp_path, Counting)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: record.retrieve([f"q{number % 5}"], 1), range(200)))
    assert len(list(tmp_path.rglob("*"))) == 5 + len({path.parent for path in tmp_path.rglob("*.json")}), (
        "and nothing unfinished lies about"
    )


def test_many_threads_build_one_index(corpus: Path, monkeypatch: pytest.MonkeyPatch):
    built: list[Path] = []
    build = bm25.build
    monkeypatch.setattr(bm25, "build", lambda corpus, folder, *how: (built.append(folder), time.sleep(0.05), build(corpus, folder, *how)))
    together = threading.Barrier(8)

    def opened() -> object:
        together.wait()
        return open_retriever(RetrieverOptions(corpus=str(corpus)))

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(opened) for _ in range(8)]
    assert len({id(each.result()) for each in asked}) == 1 and len(built) == 1


def test_options_that_cannot_be_are_refused_in_one_line(corpus: Path):
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"retriever": "bm26"}, "did you mean 'bm25'"),
        ({}, "needs --corpus"),
        ({"retriever": "http"}, "needs --retriever-url"),
        ({"retriever": "dense", "corpus": "x"}, "needs --embedder"),
        ({"corpus": "x", "retrieval_cache": "replays"}, "did you mean 'replay'"),
        ({"corpus": "x", "retriever_timeout": 0}, "above 0"),
    )
    for options, says in refused:
        with pytest.raises(UsageError, match=says):
            RetrieverOptions(**options)
    recorded = open_retriever(RetrieverOptions(corpus=str(corpus), retrieval_cache="record"))
    replayed = open_retriever(RetrieverOptions(corpus=str(corpus), retrieval_cache="replay"))
    assert recorded.retrieve(["lilu"], 1) == replayed.retrieve(["lilu"], 1) and recorded.identity == replayed.identity
    assert RetrieverOptions("ddgs").mode == "record", "the live web is kept"


# The web


def web(search, **changes: Any) -> WebRetriever:
    plain: dict[str, Any] = {"search": search, "limiter": Limiter(0.0), "longest_wait_s": 0.01}
    return WebRetriever(**plain | changes)


RESULT = {"title": "A page", "href": "https://example.org/a", "body": "a snippet"}


def test_a_web_search_that_is_turned_away_waits_and_asks_again():
    asked = []

    def search(query, top_k):
        asked.append(query)
        if len(asked) < 3:
            raise RatelimitException("202 Ratelimit")
        return [RESULT] * 9

    [found] = web(search).retrieve(["a"], 2)
    assert len(asked) == 3 and [passage.id for passage in found.passages] == ["https://example.org/a"] * 2
    assert found.passages[0].text == "a snippet"


def test_a_web_search_that_stays_away_is_a_fault_and_one_without_results_is_not():
    def always(error):
        def search(query, top_k):
            raise error

        return search

    with pytest.raises(RetrievalError, match="turned a query away 6 times"):
        web(always(RatelimitException("202"))).retrieve(["a"], 1)
    with pytest.raises(RetrievalError, match=r"failed .no such backend"):
        web(always(DDGSException("no such backend"))).retrieve(["a"], 1)
    assert web(always(DDGSException("No results found."))).retrieve(["a", " "], 1)[0].passages == ()


def test_all_threads_share_one_limiter():
    times, limiter = [], Limiter(0.05)

    def search(query, top_k):
        times.append(time.monotonic())
        return []

    retrievers = [web(search, limiter=limiter) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda retriever: retriever.retrieve(["a", "b"], 1), retrievers))
    times.sort()
    assert len(times) == 8 and times[-1] - times[0] >= 7 * 0.05 - 0.01


def test_a_page_that_cannot_be_had_leaves_its_snippet():
    def read(url, timeout_s):
        raise RetrievalError("gone")

    assert web(lambda query, top_k: [RESULT], pages=True, read=read).retrieve(["a"], 1)[0].passages[0].text == "a snippet"
    page = web(lambda query, top_k: [RESULT], pages=True, read=lambda url, timeout_s: "a page " * 10_000)
    assert page.retrieve(["a"], 1)[0].passages[0].text.startswith("a page") and len(page.retrieve(["a"], 1)[0].passages[0].text) == 4000


# The command


def test_the_command_asks_once_and_tells_errors_in_one_line(corpus: Path, capsys: pytest.CaptureFixture[str]):
    assert invoke(["retriever", "search", "lilu", "--corpus", str(corpus), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passages"][0]["id"] == "a" and found["retrieved_utc"]
    assert invoke(["retriever", "search", "lilu", "--corpus", str(corpus)]) == 0
    assert "Lilu (mythology)" in capsys.readouterr().out
    assert invoke(["retriever", "search", "lilu"]) == 2
    assert capsys.readouterr().err == "espl-bench: retriever bm25 (lexical search in a local corpus) needs --corpus\n"
    assert invoke(["retriever", "serve", "--corpus", str(corpus), "--retriever", "http"]) == 2
