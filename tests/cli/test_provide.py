"""The command as it is typed, on a machine that has neither data nor model: with a hub, after a broken download, and without a hub."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from bare_machine import NOWHERE, SMALL, Machine
from hub_server import serving_repositories
from patience import PATIENCE_S
from tiny_qwen import make_tiny_qwen

from espl_bench.engines.default_model import CPU_MODEL

COMMAND = ("run", "--method", "espl", "--env", "beyondaime")
WEIGHTS = "model.safetensors"


def table(split: str, rows: int) -> Mapping[str, bytes]:
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n  - {{split: {split}, path: {split}.jsonl}}\n---\n"
    lines = "".join(json.dumps({"problem": f"What is {n} + {n}?", "answer": str(2 * n)}) + "\n" for n in range(rows))
    return {"README.md": card.encode(), f"{split}.jsonl": lines.encode()}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, bytes]]:
    folder = make_tiny_qwen(tmp_path_factory.mktemp("model") / "tiny", ["What is 1 + 2? The answer goes into a box."])
    return {
        f"models/{CPU_MODEL}": {path.name: path.read_bytes() for path in folder.iterdir()},
        "datasets/AI-MO/aimo-validation-aime": table("train", 30),
        "datasets/ByteDance-Seed/BeyondAIME": table("test", 4),
    }


def test_without_leave_to_download_one_line_names_all_that_is_missing(tmp_path: Path):
    with serving_repositories({}) as (address, served):
        code, out, err = Machine(tmp_path).call((*COMMAND, "--no-download"), HF_ENDPOINT=address)
    told, fault = err.splitlines()
    assert (code, out, served) == (1, "", [])
    assert told == f"model {CPU_MODEL}: the default on a CPU; another: --model"
    for part in (
        "aime-2022-2024 (train), beyondaime (test)",
        "espl-bench data get beyondaime",
        f"hf download {CPU_MODEL}",
        "--model FOLDER",
    ):
        assert part in fault


@pytest.mark.parametrize("variables", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": NOWHERE}], ids=["offline", "no hub"])
def test_without_a_hub_one_line_names_all_that_is_missing(tmp_path: Path, variables: dict[str, str]):
    code, out, err = Machine(tmp_path).call(COMMAND, **variables)
    fault = err.splitlines()[-1]
    assert (code, out) == (1, "")
    for part in ("cannot fetch AI-MO/aimo-validation-aime", "espl-bench data import beyondaime --split test", f"hf download {CPU_MODEL}"):
        assert part in fault
    assert "Traceback" not in err


def test_a_dry_run_needs_neither(tmp_path: Path):
    code, out, err = Machine(tmp_path).call((*COMMAND, "--dry-run"), HF_ENDPOINT=NOWHERE)
    assert code == 0 and "15,000  (3 prompts x 10 problems x 5 rollouts per step)" in out
    assert f"the time was not measured; not on this machine: its data, model {CPU_MODEL}" in " ".join(out.split())
    assert "fetching" not in err


@pytest.mark.slow
def test_with_a_hub_it_runs_and_afterwards_without_one(tmp_path: Path, repositories: Mapping[str, Mapping[str, bytes]]):
    machine = Machine(tmp_path)
    with serving_repositories(repositories, cut=[WEIGHTS]) as (address, served):
        code, _, err = machine.call((*COMMAND, *SMALL, "first"), HF_ENDPOINT=address)
    assert code == 0, err
    assert len([name for name in served if WEIGHTS in name]) == 2, "the broken download and the whole or the rest of it"
    for part in (
        f"model {CPU_MODEL}: the default on a CPU; another: --model",
        f"fetching model {CPU_MODEL} from the hub, licence apache-2.0; --no-download fetches nothing",
        "fetching the data of beyondaime from the hub: aime-2022-2024, beyondaime; --no-download fetches nothing",
        "licence not verified",
    ):
        assert part in err
    config = json.loads((tmp_path / "first" / "config.json").read_text())
    assert config["model"] == CPU_MODEL
    code, _, err = machine.call((*COMMAND, *SMALL, "second", "--no-download"), HF_HUB_OFFLINE="1", HF_ENDPOINT=NOWHERE)
    assert code == 0 and "fetching" not in err
    for name in ("metrics.jsonl", "population.jsonl", "evaluations.jsonl"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.slow
def test_a_download_that_was_killed_goes_on_where_it_stopped(tmp_path: Path, repositories: Mapping[str, Mapping[str, bytes]]):
    machine = Machine(tmp_path)
    with serving_repositories(repositories, stuck=[WEIGHTS]) as (address, served):
        process = machine.start((*COMMAND, *SMALL, "run"), HF_ENDPOINT=address)
        until = time.monotonic() + PATIENCE_S
        while f"half of {WEIGHTS}" not in served or not list((tmp_path / "hub").rglob("*.incomplete")):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        process.kill()
        process.communicate()
        code, _, err = machine.call((*COMMAND, *SMALL, "run"), HF_ENDPOINT=address)
    assert code == 0, err
    assert "AI-MO" not in err, "the data were kept"


def test_a_model_that_the_hub_lacks_is_one_line(tmp_path: Path):
    with serving_repositories({}) as (address, _):
        code, _, err = Machine(tmp_path).call(("run", "--env", "rulebook", "--model", "some/model"), HF_ENDPOINT=address)
    assert code == 1
    assert err.splitlines()[-1].startswith(
        "espl-bench: cannot fetch model 'some/model' (the hub has none of that name, or it is private); "
    )
