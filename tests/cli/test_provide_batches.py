"""`compare` and `sweep` bring what their runs need once, before the first one starts, with the words of `run`."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from bare_machine import NOWHERE, Machine
from hub_layouts import published
from hub_server import serving_repositories
from tiny_qwen import make_tiny_qwen

from espl_bench.engines.default_model import CPU_MODEL

SMALL = {"steps": 1, "batch_size": 2, "group_size": 2, "num_prompts": 1, "max_tokens": 8, "editor_max_tokens": 8, "eval_samples": 1}
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
ONCE = ("model.safetensors", "distractor/train-00000-of-00002.parquet", "nq_open/train-00000-of-00001.parquet")
SAID = (
    f"model {CPU_MODEL}: the default on a CPU; another: --model",
    f"fetching model {CPU_MODEL} from the hub, licence apache-2.0; --no-download fetches nothing",
    "corpus hotpotqa-paragraphs: ",
    "fetching the data of nq-hotpotqa from the hub: ",
    "making the corpus hotpotqa-paragraphs of hotpotqa/hotpot_qa on the hub, licence cc-by-sa-4.0; --no-download fetches nothing",
)


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, bytes]]:
    folder = make_tiny_qwen(tmp_path_factory.mktemp("model") / "tiny", ["Who founded the village near Lake 1? The answer is a name."])
    return {f"models/{CPU_MODEL}": {path.name: path.read_bytes() for path in folder.iterdir()}, **published()}


def write_grid(folder: Path, methods: str = '["base", "rl_only"]', environments: str = '["nq-hotpotqa"]') -> None:
    options = "".join(f"{name} = {value}\n" for name, value in SMALL.items())
    (folder / "grid.toml").write_text(f"methods = {methods}\nenvironments = {environments}\nseeds = 1\n[options]\n{options}")


BATCHES = {
    "sweep": ("sweep", "run", "grid.toml", "--out", "runs", "--jobs", "2"),
    "compare": ("compare", "--methods", "base,rl_only", "--env", "nq-hotpotqa", "--seeds", "1", "--out", "runs", "--jobs", "2", *FLAGS),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BATCHES)
def test_everything_is_fetched_once_and_told_once(name: str, tmp_path: Path, repositories: Mapping[str, Mapping[str, bytes]]):
    machine = Machine(tmp_path)
    write_grid(tmp_path)
    with serving_repositories(repositories) as (address, served):
        code, _, err = machine.call(BATCHES[name], HF_ENDPOINT=address)
    assert code == 0, err
    assert len(list((tmp_path / "runs").glob("*/summary.json"))) == 2
    for part in SAID:
        assert err.count(part) == 1
    assert [served.count(file) for file in ONCE] == [1] * len(ONCE)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("variables", [{}, {"HF_HUB_OFFLINE": "1"}], ids=["no leave", "offline"])
def test_what_is_missing_is_told_before_the_first_run_starts(name: str, variables: Mapping[str, str], tmp_path: Path):
    write_grid(tmp_path)
    leave = () if variables else ("--no-download",)
    with serving_repositories({}) as (address, served):
        code, _, err = Machine(tmp_path).call((*BATCHES[name], *leave), HF_ENDPOINT=address, **variables)
    fault = err.splitlines()[-1]
    assert code == 1 and served == [] and not (tmp_path / "runs" / "table.md").exists()
    assert not list((tmp_path / "runs").glob("*/config.json"))
    for part in ("base-s0: ", "espl-bench data import nq-hotpotqa --split train --source", "--corpus FILE", f"hf download {CPU_MODEL}"):
        assert part in fault


def test_a_sweeps_dry_run_names_what_is_missing_and_fetches_nothing(tmp_path: Path):
    write_grid(tmp_path, environments='["nq-hotpotqa", "beyondaime"]')
    code, out, err = Machine(tmp_path).call(("sweep", "run", "grid.toml", "--dry-run"), HF_ENDPOINT=NOWHERE)
    assert code == 0 and "4 cells" in out, err
    missing = f"the data of nq-hotpotqa, corpus hotpotqa-paragraphs, model {CPU_MODEL}, the data of beyondaime"
    assert f"not on this machine: {missing}; fetched before the first cell starts" in out


def test_a_method_that_cannot_learn_in_a_cells_environment_is_told_before_the_first_run_starts(
    tmp_path: Path, repositories: Mapping[str, Mapping[str, bytes]]
):
    write_grid(tmp_path, '["base", "espl"]', '["math500"]')
    with serving_repositories(repositories) as (address, _):
        code, _, err = Machine(tmp_path).call(BATCHES["sweep"], HF_ENDPOINT=address)
    assert code == 2 and err.splitlines()[-1].endswith("'math500' is for evaluation only, and espl learns; use --method base")
    assert not list((tmp_path / "runs").glob("*/config.json"))
