"""`measure` on real runs: exact where the answer is known, repeatable, and without a trace in the run's own files."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from loop_fixtures import SHAPE, make_config, make_scripted_config, run
from scripted_engine import ScriptedEngine
from typer.main import get_command

from espl_bench.analysis.measures.measure import MeasureChoices, measure
from espl_bench.cli.app import app, invoke
from espl_bench.errors import UsageError
from espl_bench.leaderboard.measured import COLUMNS
from espl_bench.runs.measures_file import FILE, Progress
from espl_bench.runs.run_dir import RunDir

pytestmark = pytest.mark.slow
Capture = pytest.CaptureFixture[str]
SMALL: dict[str, Any] = SHAPE | {"steps": 2, "num_prompts": 2, "batch_size": 6, "group_size": 3, "engine": "hf"}
SECOND = ["--env-option", "world=7", "--steps", "2", "--eval-every", "1"]
METHODS = ("base", "evolution_only", "rl_only")


def files_of(folder: Path) -> dict[str, str]:
    """Hashes of everything in a run's folder but its measures."""
    every = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (FILE, ".lock"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in every}


def stored(folder: Path) -> dict[str, Any]:
    """Measures without what a clock read."""
    record = json.loads((folder / FILE).read_text())
    del record["ledger"]["wall_s"], record["ledger"]["device_s"]
    return record


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "chains.txt"
    file.write_text("3 8 dax 5 2 = 5 8 ; answer 5 8 " * 30)
    return file


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, lab_model: Path, text: Path) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for method in METHODS:
        run(make_config(lab_model, method, **SMALL | {"lr": 0.005}), folder / method)
    before = {method: files_of(folder / method) for method in METHODS}
    assert invoke(["measure", *(str(folder / method) for method in METHODS), *SECOND, "--text", str(text), "--quiet"]) == 0
    assert {method: files_of(folder / method) for method in METHODS} == before
    return folder


def test_weights_that_did_not_move_have_no_drift_and_learn_like_the_base(study: Path):
    for method in ("base", "evolution_only"):
        found = stored(study / method)
        assert found["drift"]["weights"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
        assert found["second_task"]["learned"] == found["second_task"]["from_base"]
        assert found["text"]["trained"] == found["text"]["base"]
    assert stored(study / "base")["drift"]["behaviour"]["mean"] == 0.0, "it has no prompt of its own"


def test_weights_that_moved_have_both(study: Path):
    found = stored(study / "rl_only")
    assert found["drift"]["weights"]["mean"] > found["drift"]["weights"]["low"] > 0.0
    assert found["drift"]["behaviour"] == found["drift"]["weights"], "its prompt is the root prompt"
    assert found["second_task"]["learned"]["steps"] == [0, 1, 2]
    assert found["second_task"]["learned"] != found["second_task"]["from_base"]
    assert len({found["text"][name] for name in ("base", "trained", "after_second_task")}) == 3
    assert found["second_task"]["env_options"] == {"world": 7}


def test_the_test_under_the_shown_prompt_is_the_runs_own(study: Path):
    for method in METHODS:
        summary, found = RunDir(study / method).summary(), stored(study / method)["prompt"]
        assert found["score"]["mean"] == summary.score
        assert found["base"]["mean"] == RunDir(study / "base").summary().score
        assert (found["prompt_tokens"] > 0) == bool(summary.shown_prompt)
    assert stored(study / "evolution_only")["prompt"]["unprompted"] == stored(study / "base")["prompt"]["base"]


def test_what_measuring_cost_is_in_its_own_ledger(study: Path):
    ledger, own = stored(study / "rl_only")["ledger"], RunDir(study / "rl_only").summary().ledger
    assert ledger["rollouts"] == 2 * 2 * 6 * 3, "two steps of the second task"
    assert stored(study / "base")["ledger"]["rollouts"] == 2 * ledger["rollouts"], "the first of the runs paid for the base's, too"
    assert ledger["eval_rollouts"] > own.eval_rollouts and ledger["train_tokens"] > own.train_tokens


def test_measuring_again_finds_the_same_and_the_run_still_agrees(study: Path, text: Path, tmp_path: Path, capsys: Capture):
    copy = Path(shutil.copytree(study / "rl_only", tmp_path / "copy"))
    (copy / FILE).unlink()
    assert invoke(["measure", str(copy), *SECOND, "--text", str(text), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)[str(copy)]
    first = stored(study / "rl_only")
    assert {name: told[name] for name in first if name != "ledger"} == {name: first[name] for name in first if name != "ledger"}
    assert stored(copy)["ledger"]["rollouts"] == 2 * first["ledger"]["rollouts"], "alone, it pays for the base's"
    assert invoke(["verify", str(copy), "--quiet"]) == 0


def test_a_table_shows_the_measures_that_are_asked_for(study: Path, capsys: Capture):
    assert invoke(["table", str(study), "--measures", "kl,area,steps", "--json"]) == 0
    [measured] = json.loads(capsys.readouterr().out)["measured"]
    assert measured["columns"] == ["kl", "area", "steps"]
    cells = {row["method"]: row["cells"] for row in measured["rows"]}
    assert cells["rl_only"]["kl"]["mean"] == stored(study / "rl_only")["drift"]["weights"]["mean"]
    assert cells["evolution_only"]["area"]["mean"] == 0.0
    for form in ("markdown", "csv", "html", "latex", "screen"):
        assert invoke(["table", str(study), "--measures", "all", "--format", form]) == 0
        said = capsys.readouterr().out
        assert "text_after" in said if form == "csv" else "afterwards" in said
    assert invoke(["table", str(study), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measured"] == []


def test_a_picture_is_drawn_of_them(study: Path, tmp_path: Path, capsys: Capture):
    assert invoke(["plot", str(study), "--kinds", "measures", "-o", str(tmp_path)]) == 0
    assert (tmp_path / "measures.svg").stat().st_size > 0


# Refusals


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--env-option", "world=0"], 2, "the second task is the run's own; name another with --env or --env-option"),
        (["--env", "rulebook"], 2, "the second task is the run's own; name another"),
        ([*SECOND, "--learn-by", "base"], 2, "a second task is learned by weights, and base freezes them"),
        ([*SECOND, "--learn-by", "rl_onyl"], 2, "did you mean 'rl_only'"),
        (["--env", "rulebok"], 2, "did you mean 'rulebook'"),
        (["--text", "nowhere.txt"], 2, "nowhere.txt cannot be read as text"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(study: Path, arguments: list[str], code: int, message: str, capsys: Capture):
    assert invoke(["measure", str(study / "rl_only"), *arguments, "--quiet"]) == code
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_a_text_of_words_that_the_model_does_not_know_is_refused(study: Path, tmp_path: Path, capsys: Capture):
    (tmp_path / "text.txt").write_text("It is a truth universally acknowledged that a single man must be in want of a wife. " * 5)
    assert invoke(["measure", str(study / "rl_only"), "--text", str(tmp_path / "text.txt"), "--quiet"]) == 2
    assert "the model's tokenizer does not know" in capsys.readouterr().err


def test_measures_of_another_result_are_told_and_left_out(study: Path, tmp_path: Path, capsys: Capture):
    for method in ("base", "rl_only"):
        shutil.copytree(study / method, tmp_path / method)
    (tmp_path / "base" / FILE).write_text(json.dumps(json.loads((tmp_path / "base" / FILE).read_text()) | {"summary_sha256": "0"}))
    assert invoke(["table", str(tmp_path), "--measures", "kl"]) == 0
    said = capsys.readouterr()
    assert f"{FILE} was measured on another result" in said.err
    (tmp_path / "rl_only" / FILE).write_text("{")
    assert invoke(["table", str(tmp_path), "--measures", "kl"]) == 1
    assert "none of these runs was measured" in capsys.readouterr().err
    assert invoke(["table", str(tmp_path), "--measures", "kl,are"]) == 2
    assert "did you mean 'area'" in capsys.readouterr().err


def test_an_engine_without_distributions_is_refused(tmp_path: Path):
    run(make_scripted_config(steps=1), tmp_path / "run", ScriptedEngine())
    with pytest.raises(UsageError, match="cannot be measured, as its distributions are not shown"):
        measure([tmp_path / "run"], MeasureChoices(), lambda what, done, total: None, open_engine=lambda config: ScriptedEngine())
    assert not (tmp_path / "run" / FILE).exists()


# Curves


def test_area_and_steps_are_read_off_a_curve():
    curve = Progress(steps=(0, 2, 6), scores=(0.2, 0.4, 0.8))
    assert curve.area == pytest.approx((2 * 0.3 + 4 * 0.6) / 6)
    assert [curve.steps_to(score) for score in (0.1, 0.2, 0.3, 0.4, 0.7, 0.8, 0.9)] == pytest.approx([0, 0, 1, 2, 5, 6, None])


def test_the_help_of_a_table_names_every_measure():
    program: Any = get_command(app)
    table = program.commands["table"].complete()
    [option] = [option for option in table.params if option.name == "measures"]
    named = option.help.partition(": all, or ")[2].rstrip(".").split(", ")
    assert named == list(COLUMNS)
