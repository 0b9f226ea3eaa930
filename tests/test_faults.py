"""Faults that a user may meet, through the command line: the exit code, one line that names file and remedy, nothing lost."""

import json
import os
import shutil
from pathlib import Path

import pytest
from command_line import CommandLine
from loop_fixtures import SHAPE, adapter, last_commit
from safetensors.torch import load_file, save_file

from espl_bench.cli.app import invoke
from espl_bench.prompts.dialect import BUILT_IN
from espl_bench.runs.run_dir import RunDir


@pytest.fixture
def espl_bench(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def options(model: Path, out: Path, **choices: object) -> list[str]:
    values = SHAPE | {"model": model, "out": out} | choices
    return ["--quiet", *(f"--{name.replace('_', '-')}={value}" for name, value in values.items())]


@pytest.fixture(scope="module")
def finished(lab_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert invoke(["run", *options(lab_model, folder, eval_every=2)]) == 0
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A finished run, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def model(lab_model: Path, tmp_path: Path) -> Path:
    """A model, to be spoilt."""
    return Path(shutil.copytree(lab_model, tmp_path / "model"))


# Models


def test_a_model_folder_that_does_not_exist(espl_bench: CommandLine, tmp_path: Path):
    said = espl_bench.fails("run", *options(tmp_path / "nowhere", tmp_path / "run"))
    assert f"model folder '{tmp_path / 'nowhere'}' does not exist; give a folder with a config.json, or a hub id" in said
    assert not (tmp_path / "run").exists(), "nothing is left behind"


def test_a_model_without_a_chat_template(espl_bench: CommandLine, model: Path, tmp_path: Path):
    (model / "chat_template.jinja").unlink()
    said = espl_bench.fails("run", *options(model, tmp_path / "run"))
    assert f"model '{model}' has no chat template; use an instruction-tuned model" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model_type": "lama"}', "\x00\x01"])
def test_a_model_whose_configuration_cannot_be_read(content: str, espl_bench: CommandLine, model: Path, tmp_path: Path):
    (model / "config.json").write_text(content)
    said = espl_bench.fails("run", *options(model, tmp_path / "run"))
    assert f"cannot load model '{model}'" in said and said.endswith("; check the folder's files")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "garbage"])
def test_a_model_with_a_broken_file(name: str, damage: str, espl_bench: CommandLine, model: Path, tmp_path: Path):
    path = model / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"garbage" * 40)
    said = espl_bench.fails("run", *options(model, tmp_path / "run"))
    assert str(model) in said
    assert not (tmp_path / "run").exists()


def test_a_model_whose_weights_have_other_shapes(espl_bench: CommandLine, model: Path, tmp_path: Path):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    said = espl_bench.fails("run", *options(model, tmp_path / "run"))
    assert f"cannot load model '{model}'" in said
    assert not (tmp_path / "run").exists()


def test_a_model_that_lacks_some_weights(espl_bench: CommandLine, model: Path, tmp_path: Path):
    weights = load_file(model / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    said = espl_bench.fails("run", *options(model, tmp_path / "run"))
    assert "lm_head.weight" in said and str(model) in said


# Options and templates


def test_an_environment_option_that_cannot_be(espl_bench: CommandLine, model: Path, tmp_path: Path):
    said = espl_bench.fails("run", "--env-option=world=-1", *options(model, tmp_path / "run"), code=2)
    assert said == "espl-bench: rulebook: world must be a whole number from 0, not -1"
    assert not (tmp_path / "run").exists()


@pytest.fixture
def dialect(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUILT_IN / "compact", tmp_path / "dialect"))


@pytest.mark.parametrize("name", ["system", "problem", "summary", "critique", "aggregate", "crossover"])
def test_a_template_that_does_not_render_is_found_before_anything_is_spent(
    name: str, espl_bench: CommandLine, dialect: Path, model: Path, tmp_path: Path
):
    (dialect / f"{name}.jinja").write_text("principles :\n{% for x in %}")
    said = espl_bench.fails("run", *options(model, tmp_path / "run", dialect=dialect))
    assert f"{dialect / name}.jinja:2 is not a template: Expected an expression" in said
    assert not (tmp_path / "run").exists()


def test_a_prompt_that_does_not_render_is_found_before_anything_is_spent(
    espl_bench: CommandLine, dialect: Path, model: Path, tmp_path: Path
):
    (dialect / "problem.jinja").write_text("{{ questoin }}")
    said = espl_bench.fails("run", *options(model, tmp_path / "run", dialect=dialect))
    assert f"{dialect / 'problem.jinja'} does not render: 'questoin' is undefined" in said
    assert not (tmp_path / "run").exists()


def test_a_template_that_breaks_in_mid_run_costs_no_commit(espl_bench: CommandLine, dialect: Path, model: Path, tmp_path: Path):
    """It refers to what only some reflections hold."""
    sound = (dialect / "crossover.jinja").read_text()
    (dialect / "crossover.jinja").write_text(sound + "{% if parents[1].best_on %}{{ parents[1].score }}{% endif %}")
    shape = {"dialect": dialect, "steps": 12, "crossover_prob": 1.0, "checkpoint_every": 1}
    said = espl_bench.fails("run", *options(model, tmp_path / "run", **shape))
    assert f"{dialect / 'crossover.jinja'}" in said and "has no attribute 'score'" in said
    commit = last_commit(tmp_path / "run")
    assert 1 <= commit.step < 12 and adapter(tmp_path / "run")
    (dialect / "crossover.jinja").write_text(sound)
    assert "was started with other templates: crossover.jinja" in espl_bench.fails("resume", tmp_path / "run", code=2)
    espl_bench.succeeds("resume", tmp_path / "run", "--quiet", "--allow-changed", "templates")
    assert RunDir(tmp_path / "run").summary().steps == 12


# What lies in a run directory


def test_a_damaged_checkpoint_names_the_file_and_the_older_one(espl_bench: CommandLine, folder: Path):
    newest = folder / "checkpoints/step_000004"
    weights = newest / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    said = espl_bench.fails("resume", folder)
    assert f"{weights} is damaged: its SHA-256 is not the committed one; delete {newest} to resume from step 2" in said
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}, "and nothing was touched"
    shutil.rmtree(newest)
    espl_bench.succeeds("resume", folder, "--quiet")


def test_after_the_advice_was_followed_the_run_ends_as_it_had(espl_bench: CommandLine, folder: Path, finished: Path):
    shutil.rmtree(folder / "checkpoints/step_000004")
    espl_bench.succeeds("resume", folder, "--quiet")
    for name in ("metrics.jsonl", "population.jsonl", "evaluations.jsonl"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes()
    assert adapter(folder) == adapter(finished)


def test_a_damaged_line_of_a_log_is_named_by_its_number(espl_bench: CommandLine, folder: Path):
    metrics = folder / "metrics.jsonl"
    whole = metrics.read_bytes()
    lines = whole.split(b"\n")
    lines[1] = lines[1].replace(b'"step":2', b'"step":2"')
    metrics.write_bytes(b"\n".join(lines))
    assert f"{metrics}, line 2: not JSON" in espl_bench.fails("show", folder)
    metrics.write_bytes(whole)
    evaluations = folder / "evaluations.jsonl"
    evaluations.write_bytes(b"x" + evaluations.read_bytes()[1:])
    said = espl_bench.fails("resume", folder, "--quiet")
    assert f"{evaluations}, line 1: not JSON" in said and said.endswith("; restore the file from a copy")


def test_a_log_that_lost_committed_rows_is_refused(espl_bench: CommandLine, folder: Path):
    metrics = folder / "metrics.jsonl"
    size = metrics.stat().st_size
    os.truncate(metrics, size - 10)
    said = espl_bench.fails("resume", folder)
    assert f"{metrics} has {size - 10} bytes, but {size} were committed; restore the file from a copy" in said
    assert (folder / "summary.json").exists()


def test_a_damaged_configuration_is_named(espl_bench: CommandLine, folder: Path):
    record = json.loads((folder / "config.json").read_text())
    record["steps"] = "many"
    (folder / "config.json").write_text(json.dumps(record))
    said = espl_bench.fails("resume", folder, code=2)
    assert f"{folder / 'config.json'} is not a configuration: steps: " in said and said.endswith("; restore it or start a new run")


def test_a_damaged_summary_is_named_and_written_anew(espl_bench: CommandLine, folder: Path):
    (folder / "summary.json").write_text("{}")
    said = espl_bench.fails("table", folder)
    assert f"{folder / 'summary.json'} is not a summary" in said
    espl_bench.succeeds("resume", folder, "--quiet")
    assert "espl" in espl_bench.succeeds("table", folder)


def test_a_model_that_moved_is_named_when_a_run_is_resumed(espl_bench: CommandLine, model: Path, tmp_path: Path):
    espl_bench.succeeds("run", *options(model, tmp_path / "run", steps=2))
    model.rename(tmp_path / "elsewhere")
    said = espl_bench.fails("resume", tmp_path / "run", code=2)
    assert f"the model folder {model} is not there any more" in said and "--model" in said
    (tmp_path / "elsewhere").rename(model)
    espl_bench.succeeds("resume", tmp_path / "run", "--quiet")


def test_another_model_under_the_same_name_does_not_continue_a_run(espl_bench: CommandLine, model: Path, tmp_path: Path):
    from espl_envs.lab import pretrain as lab

    espl_bench.succeeds("run", *options(model, tmp_path / "run", steps=2))
    recipe = lab.Recipe(width=64, heads=2)
    other = lab.build_model(recipe, lab.build_tokenizer(recipe.taught))
    other.save_pretrained(model)
    said = espl_bench.fails("resume", tmp_path / "run", code=2)
    assert "was started on another model" in said and "model.safetensors" in said
    said = espl_bench.fails("resume", tmp_path / "run", "--allow-changed", "model")
    assert "adapter_model.safetensors does not fit the model" in said


def test_an_output_folder_that_is_a_file(espl_bench: CommandLine, model: Path, tmp_path: Path):
    (tmp_path / "run").write_text("mine")
    said = espl_bench.fails("run", *options(model, tmp_path / "run"))
    assert f"{tmp_path / 'run'} is a file, not a folder; choose another --out" in said
    assert (tmp_path / "run").read_text() == "mine"
