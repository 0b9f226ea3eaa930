"""A resume goes on only with what the run was started with: everything that its numbers depend on, one by one."""

import json
import re
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from loop_fixtures import make_config, make_scripted_config, run
from resume_fixtures import PulledError, PullsThePlug, check_same_rollouts, summary
from safetensors.torch import load_file, save_file
from says_two import SaysTwo
from scripted_engine import ScriptedEngine, make_chat
from transformers.utils import chat_template_utils

import espl_bench
from espl_bench import runner
from espl_bench.build import GivenObjects, open_run
from espl_bench.cli.app import invoke
from espl_bench.config.resolve import resolve
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import UsageError
from espl_bench.leaderboard.notes import notes_of
from espl_bench.prompts.dialect import COMPACT
from espl_bench.runs.checkpoints import newest
from espl_bench.runs.moved import Moved
from espl_bench.runs.run_dir import AFTER_COMMIT, RunDir
from espl_bench.types import Message

Capture = pytest.CaptureFixture[str]
Edit = Callable[[Path, pytest.MonkeyPatch], None]
DOCS = Path(__file__).parents[1] / "docs" / "add-an-environment.md"
SHAPE: dict[str, Any] = {"steps": 4, "eval_every": 0, "checkpoint_every": 2}


def broken(folder: Path, after: int = 3, **choices: Any) -> None:
    """Start a run with a dialect folder of its own beside it, and break it: the last commit is that of step 2."""
    dialect = folder.parent / "dialect"
    if not dialect.exists():
        shutil.copytree(COMPACT, dialect)
    with pytest.raises(PulledError):
        config = make_scripted_config(**SHAPE | {"dialect": str(dialect)} | choices)
        runner.run(config, folder, reporter=PullsThePlug(after), engine=ScriptedEngine())


def resumed(folder: Path, *allowed: str) -> None:
    runner.resume(folder, engine=ScriptedEngine(), allow_changed=allowed)


def edit_config(folder: Path, **sections: dict[str, object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for section, values in sections.items():
        config[section] |= values
    path.write_text(json.dumps(config))


def lr(folder: Path, patch: pytest.MonkeyPatch) -> None:
    edit_config(folder, optimisation={"lr": 0.5})


def group_size(folder: Path, patch: pytest.MonkeyPatch) -> None:
    edit_config(folder, batch={"group_size": 3})


def method(folder: Path, patch: pytest.MonkeyPatch) -> None:
    edit_config(folder, method={"population_size": 3})


def template(folder: Path, patch: pytest.MonkeyPatch) -> None:
    with (folder.parent / "dialect" / "problem.jinja").open("a") as file:
        file.write("\n= ?\n")


def version(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(espl_bench, "__version__", "0.0.1")


CHANGES: dict[str, tuple[Edit, str, str]] = {
    "lr": (lr, "config", "with another configuration: lr 0.1 -> 0.5;"),
    "group_size": (group_size, "config", "with another configuration: group_size 4 -> 3;"),
    "method": (method, "config", "with another configuration: method.population_size 10 -> 3;"),
    "template": (template, "templates", r"with other templates: problem.jinja [0-9a-f]{12} -> [0-9a-f]{12};"),
    "version": (version, "version", r'with another version: espl_bench "[0-9.]+" -> "0.0.1";'),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("after", [1, 3])
def test_a_difference_is_refused_in_one_line_and_nothing_is_touched(
    name: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    edit, part, shown = CHANGES[name]
    folder = tmp_path / "run"
    broken(folder, after)
    edit(folder, monkeypatch)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError) as refusal:
        resumed(folder)
    said = str(refusal.value)
    assert re.search(rf"^{folder} was started {shown}", said) and "\n" not in said
    assert said.endswith(f"espl-bench resume {folder} --allow-changed {part}")
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_killed_before_its_first_commit_is_bound_by_its_provenance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "run"
    broken(folder, 1)
    shutil.rmtree(folder / "checkpoints" / "step_000000")
    for log in AFTER_COMMIT:
        log.path(folder).unlink(missing_ok=True)
    lr(folder, monkeypatch)
    with pytest.raises(UsageError, match=r"lr 0\.1 -> 0\.5"):
        resumed(folder)
    resumed(folder, "config")
    assert RunDir.open(folder).summary().allowed_changes == ("config lr 0.1 -> 0.5 before step 1",)


def test_an_engine_that_is_given_takes_the_place_of_the_model(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    broken(tmp_path / "run", model=str(tmp_path / "model"))
    shutil.rmtree(tmp_path / "model")
    resumed(tmp_path / "run")


@pytest.mark.parametrize("name", CHANGES)
def test_an_allowed_difference_goes_on_and_is_said(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    edit, part, _ = CHANGES[name]
    folder = tmp_path / "run"
    broken(folder)
    edit(folder, monkeypatch)
    resumed(folder, part)
    recorded = json.loads((folder / "provenance.json").read_text())["allowed_changes"]
    assert [(each["what"], each["step"]) for each in recorded] == [(part, 2)]
    finished = RunDir.open(folder).summary()
    [said] = finished.allowed_changes
    assert said.startswith(f"{part} ") and " -> " in said and said.endswith(" after step 2")
    notes = notes_of({"espl": {finished.seed: finished}}, "espl")
    assert f"espl, seed 0: changed in the middle of the run: {said}" in notes
    resumed(folder)  # later commits are bound to what was allowed


def test_what_was_allowed_once_is_not_asked_again_from_the_same_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "run"
    broken(folder)
    lr(folder, monkeypatch)
    with pytest.raises(PulledError):
        runner.resume(folder, reporter=PullsThePlug(3), engine=ScriptedEngine(), allow_changed=["config"])
    assert [each.name for each in RunDir.open(folder).provenance.allowed_changes()] == ["lr"]
    resumed(folder)
    assert len(RunDir.open(folder).provenance.allowed_changes()) == 1
    edit_config(folder, optimisation={"lr": 0.7})
    with pytest.raises(UsageError, match=r"lr 0\.5 -> 0\.7"):
        resumed(folder)


def test_several_differences_are_shown_at_once_and_each_must_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "run"
    broken(folder)
    lr(folder, monkeypatch)
    version(folder, monkeypatch)
    with pytest.raises(UsageError, match=r"lr 0.1 -> 0.5; with another version: .*--allow-changed config --allow-changed version$"):
        resumed(folder)
    with pytest.raises(UsageError, match=r"was started with another version: .*--allow-changed version$"):
        resumed(folder, "config")
    resumed(folder, "config", "version")


def test_choices_that_change_no_number_may_differ(tmp_path: Path):
    broken(tmp_path / "run")
    run(make_scripted_config(**SHAPE | {"dialect": str(tmp_path / "dialect")}), tmp_path / "unbroken", ScriptedEngine())
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"checkpoint_every": 1, "stuck_after": 5.0}))
    resumed(tmp_path / "run")
    check_same_rollouts(tmp_path / "run", tmp_path / "unbroken")
    assert not RunDir.open(tmp_path / "run").provenance.allowed_changes()


def test_more_steps_can_be_allowed(tmp_path: Path):
    folder = tmp_path / "run"
    broken(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"steps": 6}))
    with pytest.raises(UsageError, match="steps 4 -> 6"):
        resumed(folder)
    resumed(folder, "config")
    assert RunDir.open(folder).summary().steps == 6


def test_an_unknown_part_is_named_before_anything_is_read(tmp_path: Path, capsys: Capture):
    broken(tmp_path / "run")
    assert invoke(["resume", str(tmp_path / "run"), "--allow-changed", "configs"]) == 2
    assert "'configs'" in (said := capsys.readouterr().err) and "config" in said and said.count("\n") == 1


def test_a_finished_run_whose_configuration_was_edited_does_not_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture):
    folder = tmp_path / "run"
    run(make_scripted_config(**SHAPE), folder, ScriptedEngine())
    assert invoke(["verify", str(folder), "--quiet"]) == 0
    lr(folder, monkeypatch)
    capsys.readouterr()
    assert invoke(["verify", str(folder), "--quiet"]) == 1
    assert re.search(r"config\.json +lr +0\.1 +0\.5", capsys.readouterr().out)
    assert invoke(["results", "add", str(folder), "--results", str(tmp_path / "results"), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert "was changed or is damaged: 3 differences" in said and "config.json, lr: the run says 0.1, found 0.5" in said


# Models


@pytest.fixture
def model(lab_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lab_model, tmp_path / "model"))


def perturb(model: Path) -> None:
    path = model / "model.safetensors"
    weights = load_file(path)
    name = min(weights)
    weights[name] = weights[name] * 1.01
    save_file(weights, path, metadata={"format": "pt"})


def test_a_model_that_changed_or_moved(model: Path, tmp_path: Path, capsys: Capture):
    config = make_config(model, steps=2, checkpoint_every=1)
    run(config, tmp_path / "unbroken")
    folder = tmp_path / "run"
    with pytest.raises(PulledError):
        runner.run(config, folder, reporter=PullsThePlug(1))
    sound = (model / "model.safetensors").read_bytes()
    perturb(model)
    with pytest.raises(UsageError, match=r"on another model: model\.safetensors [0-9a-f]{12} -> [0-9a-f]{12};"):
        runner.resume(folder)
    (model / "model.safetensors").write_bytes(sound)
    elsewhere = model.rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=rf"{model} is not there any more; name its place: espl-bench resume {folder} --model PATH"):
        runner.resume(folder)
    (elsewhere / "generation_config.json").rename(tmp_path / "kept.json")
    with pytest.raises(UsageError, match=r"on another model: generation_config\.json [0-9a-f]{12} -> \(none\);"):
        runner.resume(folder, moved=Moved(elsewhere))
    (tmp_path / "kept.json").rename(elsewhere / "generation_config.json")
    assert invoke(["resume", str(folder), "--model", str(elsewhere), "--quiet"]) == 0
    check_same_rollouts(folder, tmp_path / "unbroken")
    assert summary(folder) == summary(tmp_path / "unbroken")


# Items


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EnvironmentSpec:
    """The environment of the documentation, which says nothing of its data."""
    [code] = re.findall(r"```python\n(# my_envs/spelling\.py\n.*?)```", DOCS.read_text(), flags=re.DOTALL)
    folder = tmp_path / "my_envs"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "spelling.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_envs"]:
        monkeypatch.delitem(sys.modules, name)
    import my_envs.spelling  # pyright: ignore[reportMissingImports]

    monkeypatch.setitem(sys.modules, "my_envs.spelling", my_envs.spelling)
    return my_envs.spelling.SPELLING


def spell(spec: EnvironmentSpec, folder: Path, seed: int = 0, break_it: bool = False) -> None:
    config = resolve("rl_only", spec, SHAPE | {"model": "two", "num_prompts": 1, "group_size": 2, "eval_samples": 1, "seed": seed})
    if not break_it:
        runner.run(config, folder, engine=SaysTwo(), env=spec)
        return
    with pytest.raises(PulledError):
        runner.run(config, folder, reporter=PullsThePlug(3), engine=SaysTwo(), env=spec)


def other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["my_envs.spelling"], "WORDS", ("rhythm", "necessary", "accommodate", "embarras"))


def test_an_environment_as_documented_has_a_data_identity(documented: EnvironmentSpec, tmp_path: Path):
    spell(documented, tmp_path / "run")
    recorded = json.loads((tmp_path / "run" / "provenance.json").read_text())
    identity = RunDir.open(tmp_path / "run").summary().data_identity
    assert set(identity) == {"train", "validation", "test"} and all(re.fullmatch("[0-9a-f]{64}", each) for each in identity.values())
    assert recorded["facts"]["data"]["identity"] == identity == recorded["binding"]["items"]
    assert recorded["binding"]["environment"].keys() == {"id", "package", "source"}


def test_items_that_changed_between_two_seeds_are_not_pooled(
    documented: EnvironmentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
):
    spell(documented, tmp_path / "runs" / "s0", 0)
    other_words(monkeypatch)
    spell(documented, tmp_path / "runs" / "s1", 1)
    assert invoke(["table", str(tmp_path / "runs")]) == 1
    assert "have different test items and cannot be compared" in capsys.readouterr().err


def test_items_that_changed_before_a_resume_are_refused(documented: EnvironmentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "run"
    spell(documented, folder, break_it=True)
    other_words(monkeypatch)
    with pytest.raises(UsageError, match=r"was started on other data: test [0-9a-f]{12} -> [0-9a-f]{12}; .*--allow-changed items$"):
        runner.resume(folder, engine=SaysTwo(), env=documented)
    runner.resume(folder, engine=SaysTwo(), env=documented, allow_changed=["items"])
    assert [each.what for each in RunDir.open(folder).provenance.allowed_changes()] == ["items"]


def test_a_grader_that_changed_is_refused(documented: EnvironmentSpec, tmp_path: Path):
    folder = tmp_path / "run"
    spell(documented, folder, break_it=True)
    source = tmp_path / "my_envs" / "spelling.py"
    source.write_text(source.read_text().replace("given.strip()", "given.strip().lower()"))
    with pytest.raises(UsageError, match=r"in another environment: source [0-9a-f]{12} -> [0-9a-f]{12}; .*--allow-changed environment$"):
        runner.resume(folder, engine=SaysTwo(), env=documented)


def test_a_control_that_changes_answers_leaves_the_identity_of_the_items(tmp_path: Path):
    plain, shuffled = (
        open_run(make_scripted_config(control=control, seed=seed), given=GivenObjects(engine=ScriptedEngine())).data_identity
        for control, seed in ((None, 0), ("shuffled-answers", 1))
    )
    assert plain == shuffled


def test_a_file_that_moved(tmp_path: Path):
    for split in ("train", "test"):
        rows = [json.dumps({"problem": f"{split}: 1 + {number} ?", "answer": str(number + 1)}) for number in range(12)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    files = {split: str(tmp_path / f"{split}.jsonl") for split in ("train", "test")}
    choices = SHAPE | {"model": "two", "env_options": {**files, "holdout": 3}, "num_prompts": 1, "group_size": 2, "eval_samples": 1}
    config = resolve("rl_only", "jsonl", choices | {"batch_size": 2, "max_tokens": 64})
    folder = tmp_path / "run"
    with pytest.raises(PulledError):
        runner.run(config, folder, reporter=PullsThePlug(3), engine=SaysTwo())
    moved = (tmp_path / "test.jsonl").rename(tmp_path / "moved.jsonl")
    with pytest.raises(UsageError, match="the run's environment has no option 'tests' that names a file; it has: "):
        runner.resume(folder, engine=SaysTwo(), moved=Moved(files={"tests": str(moved)}))
    sound = moved.read_text()
    moved.write_text(sound.replace("1 + 3 ?", "1  + 3 ?"))
    with pytest.raises(UsageError, match=r"on other data: test [0-9a-f]{12} -> [0-9a-f]{12};"):
        runner.resume(folder, engine=SaysTwo(), moved=Moved(files={"test": str(moved)}))
    moved.write_text(sound)
    found = runner.resume(folder, engine=SaysTwo(), moved=Moved(files={"test": str(moved)}))
    assert found.env_options["test"] == files["test"]


# Dates


class Tomorrow(datetime):
    """What transformers takes the time from, a day later."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Tomorrow":
        return cls.fromtimestamp(time.time() + 86_400)


def dated_engine() -> ScriptedEngine:
    """Its chat template begins every prompt with the day and the month, a digit a word."""
    chat = make_chat()
    chat._tokenizer.chat_template = '{% for digit in strftime_now("%d%m") %}{{ digit }} {% endfor %}' + chat._tokenizer.chat_template
    return ScriptedEngine(chat=chat)


def days(engine: ScriptedEngine) -> set[str]:
    prompts = [engine.chat.decode(request.prompt_T) for call in engine.calls for request in call.requests]
    return {"".join(prompt.split()[:4]) for prompt in prompts}


def test_resumed_on_another_day_it_renders_the_ids_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, first, later = tmp_path / "run", dated_engine(), dated_engine()
    with pytest.raises(PulledError):
        runner.run(make_scripted_config("rl_only", **SHAPE), folder, reporter=PullsThePlug(3), engine=first)
    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    runner.resume(folder, engine=later)
    started = RunDir.open(folder).provenance.started()
    assert started is not None and days(first) == days(later) == {f"{started:%d%m}"}


def test_the_editor_reads_the_same_date():
    engine = dated_engine()
    context = open_run(make_scripted_config(), given=GivenObjects(engine=engine), started=datetime(2025, 2, 3, tzinfo=UTC))
    prompts = context.editor_chat.encode((Message("user", "summarise"),)), context.spec.prompt_tokens((), "dax ?")
    assert [engine.chat.decode(tokens).split()[:4] for tokens in prompts] == [["0", "3", "0", "2"]] * 2


# Runs of earlier versions


def without_bindings(folder: Path) -> None:
    """Make a run as an earlier version would have."""
    import hashlib

    from espl_bench.utils.jsonl import encode

    provenance = json.loads((folder / "provenance.json").read_text())
    del provenance["binding"]
    del provenance["facts"]["data"]
    (folder / "provenance.json").write_text(json.dumps(provenance))
    for commit in (folder / "checkpoints").glob("*/commit.json"):
        record = json.loads(commit.read_text())
        del record["binding"], record["sha256"]
        record["format"] = "espl-bench/commit/1"
        commit.write_bytes(encode({**record, "sha256": hashlib.sha256(encode(record)).hexdigest()}))


def test_a_run_of_an_earlier_version_goes_on_and_says_what_cannot_be_seen(tmp_path: Path):
    run(make_scripted_config(**SHAPE), tmp_path / "unbroken", ScriptedEngine())
    folder = tmp_path / "run"
    with pytest.raises(PulledError):
        runner.run(make_scripted_config(**SHAPE), folder, reporter=PullsThePlug(3), engine=ScriptedEngine())
    without_bindings(folder)
    said: list[str] = []
    runner.resume(folder, engine=ScriptedEngine(), warn=said.append)
    parts = "config, version, model, environment, items, templates"
    assert said == [f"the version that began this run did not record its {parts}, so changes of these cannot be seen"]
    check_same_rollouts(folder, tmp_path / "unbroken")
    assert summary(folder) == summary(tmp_path / "unbroken")
    found = newest(folder / "checkpoints")
    assert found is not None and found.binding is not None, "its new commits are bound"
    said.clear()
    runner.resume(folder, engine=ScriptedEngine(), warn=said.append)
    assert said == []


def test_a_weight_that_changed_is_seen_in_the_provenance_of_an_earlier_version(model: Path, tmp_path: Path):
    config = make_config(model, steps=2, checkpoint_every=1)
    with pytest.raises(PulledError):
        runner.run(config, tmp_path / "run", reporter=PullsThePlug(1))
    without_bindings(tmp_path / "run")
    perturb(model)
    with pytest.raises(UsageError, match=r"on another model: model\.safetensors [0-9a-f]{12} -> [0-9a-f]{12};"):
        runner.resume(tmp_path / "run")
