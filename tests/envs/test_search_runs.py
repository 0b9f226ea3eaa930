"""Whole runs of the search experiment on real questions with tiny models: every method, broken runs, and retrievers that fail."""

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from data_fixtures import needs_test_data
from loop_fixtures import adapter, check_mutations, check_population, loop_methods, rows
from patience import PATIENCE_S
from resume_fixtures import check_same_rollouts, summary
from search_fixtures import import_questions
from searching_model import make_random_model, teach_to_search

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.method import find_method
from espl_bench.retrieval.bm25 import Bm25Retriever
from espl_bench.retrieval.http_server import RetrieverServer
from espl_bench.retrieval.retriever import FoundPassage
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import Split
from espl_bench.utils.jsonl import decode

pytestmark = needs_test_data

SHAPE = {"steps": 2, "num_prompts": 2, "batch_size": 2, "group_size": 3, "max_tokens": 48, "editor_max_tokens": 16, "lora_rank": 4}
SHAPE |= {
    "eval_samples": 1,
    "eval_every": 0,
    "checkpoint_every": 1,
    "lr": 1e-3,
    "sampling_groups": 2,
    "max_episode_tokens": 4000,
    "temperature": 0.7,
}
ITEMS = {"train_items": 12, "validation_items": 2, "test_items": 4, "max_turns": 3, "passage_chars": 60, "top_k": 1}
ROLLOUTS = 2 * 2 * 3


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    import_questions(folder)
    return folder


@pytest.fixture(autouse=True)
def home(library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESPL_BENCH_DATA", str(library / "home"))
    return library / "home"


@pytest.fixture(scope="module")
def random_model(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPL_BENCH_DATA", str(library / "home"))
        return make_random_model(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def searching_model(random_model: Path, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPL_BENCH_DATA", str(library / "home"))
        return teach_to_search(random_model, tmp_path_factory.mktemp("searching"), ITEMS)


def configure(model: Path, method: str, options: dict, **choices: object) -> RunConfig:
    return resolve(method, "nq-hotpotqa", SHAPE | {"model": str(model), "env_options": ITEMS | options} | choices)


def stored(folder: Path) -> list[dict]:
    return [row for step in RunDir(folder).rollout_steps() for row in RunDir(folder).read_rollouts(step, decode)]


@pytest.mark.parametrize("method", loop_methods())
def test_every_method_runs_from_the_command_line_to_the_verified_result(
    method: str, searching_model: Path, library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder, row = tmp_path / "run", find_method(method)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SHAPE.items()]
    options += [f"--env-option={name}={value}" for name, value in ITEMS.items()] + [f"--corpus={library / 'corpus.jsonl'}"]
    command = ["run", f"--method={method}", "--env=nq-hotpotqa", f"--model={searching_model}", f"--out={folder}", "--json", *options]
    assert invoke(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_items"], found["steps"]) == (4, 0 if row.is_static else 2)
    assert set(found["measures"]) == {"f1"} and found["measures"]["f1"] >= found["score"]
    assert set(found["data_identity"]) == {"train", "validation", "test", "retrieval"}
    assert len(stored(folder)) == found["steps"] * ROLLOUTS
    played = stored(folder) + RunDir(folder).read_rollouts(found["steps"], decode, Split.TEST)
    observations = [each["tool"] for rollout in played for turn in rollout.get("heard", ()) for each in turn]
    assert row.is_static or "search" in observations, "it searched"
    assert "error" not in found["outcomes"] and not any(each["outcome"] == "error" for each in stored(folder))
    if row.operators:
        check_population(folder)
        check_mutations(folder)
    capsys.readouterr()
    assert invoke(["verify", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agrees"] is True
    if not row.is_static:
        assert invoke(["show", str(folder), "--rollout", "0"]) == 0
        assert "[G0]" in capsys.readouterr().out


def test_a_model_of_random_weights_runs_too(random_model: Path, library: Path, tmp_path: Path):
    config = configure(random_model, "espl", {"corpus": str(library / "corpus.jsonl")}, steps=1)
    found = runner.run(config, tmp_path / "run")
    assert found.score == 0 and found.steps == 1 and "error" not in found.outcomes


# Retrievers that are slow, down, or return garbage


class NothingFound:
    """Stands behind a server whose requests a test answers itself."""

    identity = "none"

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[FoundPassage]:
        raise NotImplementedError


@contextmanager
def served(handle):
    """A retriever's server that lets `handle(handler, queries)` answer; None: as the real one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            self.answer(*handle(queries))

        def answer(self, status, content):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = RetrieverServer(("127.0.0.1", 0), NothingFound())
    server.RequestHandlerClass = Handler
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def passages(queries) -> tuple[int, bytes]:
    document = {"id": "1", "contents": '"A title"\na text'}
    return 200, json.dumps({"result": [[{"document": document, "score": 1.0}] for _ in queries]}).encode()


def test_a_retriever_that_fails_costs_its_rollouts_and_never_the_run(searching_model: Path, tmp_path: Path):
    """Most requests fail, for good and in different ways; the others are answered."""
    asked = []

    def moody(queries):
        asked.append(queries)
        return (passages(queries), (404, b""), (200, b"<html>garbage"), (200, b'{"result": [[1]]}'))[len(asked) % 4]

    with served(moody) as url:
        config = configure(searching_model, "rl_only", {"retriever": "http", "retriever_url": url, "retriever_timeout": 30.0})
        found = runner.run(config, tmp_path / "run")
    training = stored(tmp_path / "run")
    outcomes = Counter(row["outcome"] for row in training)
    assert found.steps == 2 and outcomes["error"] >= 3 and len(outcomes) >= 2
    for row in training:
        assert (row["outcome"] == "error") == bool(row["error"])
        if row["error"]:
            assert row["reward"] == 0 and url in row["error"], "and each says whose fault it was"
    assert found.training_outcomes["error"] == pytest.approx(outcomes["error"] / len(training))
    assert invoke(["verify", str(tmp_path / "run"), "--quiet"]) == 0, "without asking the retriever again"


def test_a_run_is_replayed_from_its_record_without_a_retriever(searching_model: Path, library: Path, tmp_path: Path):
    record = {"retriever": "http", "retrieval_cache_dir": str(tmp_path / "record")}
    with served(passages) as url:
        first = runner.run(
            configure(searching_model, "rl_only", record | {"retriever_url": url, "retrieval_cache": "record"}), tmp_path / "a"
        )
    replayed = runner.run(
        configure(searching_model, "rl_only", record | {"retriever_url": url, "retrieval_cache": "replay"}), tmp_path / "b"
    )
    assert replayed.sample_scores == first.sample_scores and "error" not in replayed.outcomes
    check_same_rollouts(tmp_path / "b", tmp_path / "a")
    shutil.rmtree(tmp_path / "record")
    lost = runner.run(
        configure(searching_model, "rl_only", record | {"retriever_url": url, "retrieval_cache": "replay"}, steps=1),
        tmp_path / "c",
    )
    errors = {row["error"] for row in stored(tmp_path / "c") if row["error"]}
    assert lost.steps == 1 and errors and all("--retrieval-cache record" in error for error in errors)


# Broken in the middle of an episode


def test_killed_in_the_middle_of_an_episode_it_ends_as_if_it_had_not_been(searching_model: Path, library: Path, tmp_path: Path):
    """The process dies while its second step waits for the retriever."""
    local = Bm25Retriever.open(library / "corpus.jsonl")
    waiting, goes_on = threading.Event(), threading.Event()
    holding: list[bool] = []
    folder = tmp_path / "killed"

    def answers(queries):
        if holding and (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").read_bytes().count(b"\n") >= 1:
            waiting.set()
            goes_on.wait(60)
        found = local.retrieve(queries, 1)
        documents = [
            [{"document": {"id": p.id, "title": p.title, "text": p.text}, "score": p.score} for p in each.passages] for each in found
        ]
        return 200, json.dumps({"result": documents}).encode()

    with served(answers) as url:
        options = {"retriever": "http", "retriever_url": url, "retriever_timeout": 120.0}
        config = configure(searching_model, "espl", options)
        runner.run(config, tmp_path / "unbroken")
        holding.append(True)
        typed = [f"--{name.replace('_', '-')}={value}" for name, value in SHAPE.items()]
        typed += [f"--env-option={name}={value}" for name, value in (ITEMS | options).items()]
        command = [
            sys.executable,
            "-m",
            "espl_bench",
            "run",
            "--env=nq-hotpotqa",
            f"--model={searching_model}",
            f"--out={folder}",
            "--quiet",
            *typed,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            assert waiting.wait(600), "its second step searches"
            process.send_signal(signal.SIGKILL)
        finally:
            process.kill()
            process.wait(PATIENCE_S)
        goes_on.set()
        holding.clear()
        assert not (folder / "summary.json").exists()
        runner.resume(folder)
    for log in (Log.METRICS, Log.POPULATION, Log.EVALUATIONS):
        assert log.path(folder).read_bytes() == log.path(tmp_path / "unbroken").read_bytes()
    check_same_rollouts(folder, tmp_path / "unbroken")
    assert summary(folder) == summary(tmp_path / "unbroken") and adapter(folder) == adapter(tmp_path / "unbroken")
    assert rows(folder, Log.METRICS)
