"""The command as it is typed for every published environment, against a hub that holds the sets in their layouts."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from bare_machine import NOWHERE, SMALL, Machine
from hub_layouts import hotpot_of_its_authors, nq, published
from hub_server import serving_repositories
from tiny_qwen import make_tiny_qwen

from espl_bench.engines.default_model import CPU_MODEL

WEIGHTS = "model.safetensors"
LOGS = ("metrics.jsonl", "population.jsonl", "evaluations.jsonl")


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, bytes]]:
    folder = make_tiny_qwen(tmp_path_factory.mktemp("model") / "tiny", ["Who founded the village near Lake 1? The answer is a name."])
    return {f"models/{CPU_MODEL}": {path.name: path.read_bytes() for path in folder.iterdir()}, **published()}


@pytest.mark.slow
@pytest.mark.parametrize("env", ["aime25", "hmmt25"])
def test_mathematics_runs(env: str, tmp_path: Path, repositories: Mapping[str, Mapping[str, bytes]]):
    with serving_repositories(repositories) as (address, _):
        code, _, err = Machine(tmp_path).call(("run", "--method", "espl", "--env", env, *SMALL, "run"), HF_ENDPOINT=address)
    assert code == 0, err
    assert f"fetching the data of {env} from the hub" in err and "corpus" not in err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["n_items"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("env", ["nq-hotpotqa", "hotpotqa", "nq"])
def test_a_search_runs_at_once_and_afterwards_without_a_hub(env: str, tmp_path: Path, repositories: Mapping[str, Mapping[str, bytes]]):
    machine, command = Machine(tmp_path), ("run", "--method", "espl", "--env", env)
    with serving_repositories(repositories) as (address, served):
        code, _, err = machine.call((*command, *SMALL, "first"), HF_ENDPOINT=address)
    assert code == 0, err
    for part in (
        "corpus hotpotqa-paragraphs: the Wikipedia paragraphs beside 2,000 questions of each HotpotQA set: small, not Wikipedia",
        "another: --corpus FILE",
        "making the corpus hotpotqa-paragraphs of hotpotqa/hotpot_qa on the hub, licence cc-by-sa-4.0; --no-download fetches nothing",
        "hotpotqa-paragraphs: 36 passages from hotpotqa/hotpot_qa",
    ):
        assert part in err
    assert not [name for name in served if name.startswith("fullwiki")]
    facts = json.loads((tmp_path / "first" / "provenance.json").read_text())["facts"]["data"]
    corpus = facts["corpus"]
    assert (corpus["corpus"], corpus["passages"], corpus["licence"]) == ("hotpotqa-paragraphs", 36, "cc-by-sa-4.0")
    assert [part["origin"]["revision"] for part in corpus["parts"]] == ["a" * 40] * 2
    assert corpus["passages_sha256"] in facts["identity"]["retrieval"]
    code, _, err = machine.call((*command, *SMALL, "second", "--no-download"), HF_HUB_OFFLINE="1", HF_ENDPOINT=NOWHERE)
    assert code == 0 and "making" not in err and "fetching" not in err, err
    for name in LOGS:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_without_leave_to_download_a_search_names_all_that_is_missing(tmp_path: Path):
    with serving_repositories({}) as (address, served):
        code, out, err = Machine(tmp_path).call(("run", "--env", "nq", "--no-download"), HF_ENDPOINT=address)
    fault = err.splitlines()[-1]
    assert (code, out, served) == (1, "", [])
    for part in (
        "nq-open-train (train), nq-open-dev (test)",
        "espl-bench data import nq --split train --from FILE",
        "nq needs --corpus FILE (passages with id, title and text), or the corpus hotpotqa-paragraphs, which ",
        "with a network: espl-bench data get nq ; without: espl-bench data import nq --split corpus --from HOTPOTQA-TRAIN-FILE "
        "--from HOTPOTQA-DEV-FILE",
        f"hf download {CPU_MODEL}",
    ):
        assert part in fault


def test_a_search_that_names_its_passages_or_searches_elsewhere_makes_no_corpus(tmp_path: Path):
    for named in (("--corpus", "mine.jsonl"), ("--retriever", "http", "--retriever-url", NOWHERE)):
        code, _, err = Machine(tmp_path).call(("run", "--env", "nq", "--no-download", *named), HF_ENDPOINT=NOWHERE)
        assert code == 1 and "hotpotqa" not in err


def test_what_only_evaluates_says_so_before_a_model_is_fetched(tmp_path: Path, repositories: Mapping[str, Mapping[str, bytes]]):
    with serving_repositories(repositories) as (address, served):
        code, _, err = Machine(tmp_path).call(("run", "--method", "espl", "--env", "math500"), HF_ENDPOINT=address)
    assert code == 2 and WEIGHTS not in served
    assert err.splitlines()[-1] == "espl-bench: environment 'math500' is for evaluation only, and espl learns; use --method base"


@pytest.mark.slow
def test_what_only_evaluates_runs_with_base(tmp_path: Path, repositories: Mapping[str, Mapping[str, bytes]]):
    with serving_repositories(repositories) as (address, _):
        code, _, err = Machine(tmp_path).call(("run", "--method", "base", "--env", "math500", *SMALL, "run"), HF_ENDPOINT=address)
    assert code == 0, err
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["n_items"] == 6


@pytest.mark.slow
def test_offline_the_questions_and_the_corpus_are_imported_from_files_as_the_authors_publish_them(tmp_path: Path):
    machine = Machine(tmp_path)
    for name, rows in {
        "nq-train.jsonl": [nq(n) for n in range(8)],
        "nq-dev.jsonl": [nq(n) for n in range(100, 106)],
        "hotpot_train_v1.1.json": [hotpot_of_its_authors(n) for n in range(8)],
        "hotpot_dev_distractor_v1.json": [hotpot_of_its_authors(n) for n in range(100, 106)],
    }.items():
        lines = json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / name).write_text(lines)
    folder = make_tiny_qwen(tmp_path / "tiny", ["Who founded the village near Lake 1? The answer is a name."])
    files = {"train": {"nq-open-train": "nq-train.jsonl", "hotpotqa-train": "hotpot_train_v1.1.json"}}
    files["test"] = {"nq-open-dev": "nq-dev.jsonl", "hotpotqa-dev": "hotpot_dev_distractor_v1.json"}
    for split, sets in files.items():
        for source, file in sets.items():
            command = ("data", "import", "nq-hotpotqa", "--split", split, "--source", source, "--from", file)
            assert machine.call(command, HF_HUB_OFFLINE="1")[0] == 0
    command = ("data", "import", "nq-hotpotqa", "--split", "corpus", "--from", files["train"]["hotpotqa-train"])
    code, out, err = machine.call((*command, "--from", files["test"]["hotpotqa-dev"]), HF_HUB_OFFLINE="1")
    assert code == 0 and "hotpotqa-paragraphs: 36 passages from file hotpot_train_v1.1.json and file hotpot_dev_distractor_v1.json" in out
    run = ("run", "--method", "espl", "--env", "nq-hotpotqa", "--model", str(folder), *SMALL, "run")
    code, _, err = machine.call(run, HF_HUB_OFFLINE="1")
    assert code == 0, err
