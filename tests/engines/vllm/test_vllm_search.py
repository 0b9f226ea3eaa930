"""The searching environments on vLLM: the almanac with its own model, and the published questions with a tiny one and a real server."""

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from data_fixtures import needs_test_data
from loop_fixtures import check_mutations, check_population, rows
from search_fixtures import import_questions
from searching_model import make_random_model, teach_to_search

from espl_bench.cli.app import invoke
from espl_bench.retrieval.http_server import RetrieverServer
from espl_bench.retrieval.retriever import FoundPassage, Passage, now_utc
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.utils.jsonl import decode

SHAPE = {"steps": 2, "num_prompts": 2, "group_size": 4, "eval_samples": 1, "eval_every": 0, "checkpoint_every": 1, "lora_rank": 4}
QUESTIONS = {"train_items": 12, "validation_items": 2, "test_items": 4, "max_turns": 3, "passage_chars": 60, "top_k": 1}


def play(folder: Path, method: str, env: str, *options: str, **choices: object) -> list[dict]:
    """The rollouts of a run on vLLM that came to its verified end."""
    typed = [f"--{name.replace('_', '-')}={value}" for name, value in (SHAPE | choices).items()]
    assert invoke(["run", f"--method={method}", f"--env={env}", "--engine=vllm", f"--out={folder}", "--quiet", *options, *typed]) == 0
    summary = RunDir(folder).summary()
    assert (summary.engine, summary.steps) == ("vllm", 2) and "error" not in summary.outcomes
    check_population(folder)
    check_mutations(folder)
    assert invoke(["verify", str(folder), "--quiet"]) == 0
    return [row for step in RunDir(folder).rollout_steps() for row in RunDir(folder).read_rollouts(step, decode)]


def check_learning(folder: Path) -> None:
    """What was trained on is what was sampled, turn by turn: the trainer gives every sampled token the sampler's probability."""
    for row in rows(folder, Log.METRICS):
        assert row["train"]["logprob_gap"] < 1e-3 and row["train"]["ratio_mean"] == pytest.approx(1, abs=1e-3)


def test_the_almanac_is_searched_and_learned(tmp_path: Path):
    rollouts = play(tmp_path / "run", "espl", "almanac", batch_size=8)
    check_learning(tmp_path / "run")
    assert len(rollouts) == 2 * 2 * 8 * 4
    assert all(len(row["turns"]) in (2, 3) for row in rollouts), "it searches, and answers in the end"
    assert not any("Error" in reply["text"] for row in rollouts for turn in row["heard"] for reply in turn)


class SharedWords:
    """Finds the passages that share most words with a query: a retriever that needs no package."""

    identity = "shared words"

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = [(set(passage.text.lower().split()), passage) for passage in passages]

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[FoundPassage]:
        return [FoundPassage(query, self._best(set(query.lower().split()), top_k), now_utc()) for query in queries]

    def _best(self, wanted: set[str], top_k: int) -> tuple[Passage, ...]:
        return tuple(passage for _, passage in sorted(self.passages, key=lambda each: -len(wanted & each[0]))[:top_k])


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    import_questions(folder)
    return folder


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[str]:
    passages = [Passage(row["id"], row["title"], row["text"], 0.0) for row in map(json.loads, (library / "corpus.jsonl").open())]
    server = RetrieverServer(("127.0.0.1", 0), SharedWords(passages))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@needs_test_data
@pytest.mark.parametrize("method", ["espl", "evolution_only"])
def test_published_questions_are_searched_for(
    method: str, library: Path, server: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ESPL_BENCH_DATA", str(library / "home"))
    folder = tmp_path_factory.mktemp(method)
    model = teach_to_search(make_random_model(folder / "random", head_dim=32), folder / "model", QUESTIONS)
    choices = {"model": model, "batch_size": 2, "max_tokens": 48, "editor_max_tokens": 16, "max_episode_tokens": 4000, "temperature": 0.7}
    options = [f"--env-option={name}={value}" for name, value in QUESTIONS.items()]
    rollouts = play(folder / "run", method, "nq-hotpotqa", *options, retriever="http", retriever_url=server, **choices)
    if method == "espl":
        check_learning(folder / "run")
    observations = [reply for row in rollouts for turn in row.get("heard", ()) for reply in turn]
    assert any(reply["tool"] == "search" and "[1]" in reply["text"] for reply in observations), "it searched, and the server answered"
