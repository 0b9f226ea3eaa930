"""Published results: what gets in, what is refused, and what is found stale or spoilt afterwards."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loop_fixtures import make_scripted_config, run
from scripted_engine import ScriptedEngine

from espl_bench.analysis.verify import verify
from espl_bench.cli.app import invoke
from espl_bench.errors import RunDirError
from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.collect import collect
from espl_bench.results import adding, generated
from espl_bench.runs.published import SUFFIX, read_result, without_folders
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Split
from espl_bench.utils.jsonl import decode

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of base and of espl."""
    folder = tmp_path_factory.mktemp("finished")
    for seed in (0, 1):
        run(make_scripted_config(method="base", seed=seed, eval_samples=2), folder / f"base-s{seed}", ScriptedEngine())
        run(make_scripted_config(seed=seed, steps=2, eval_samples=2), folder / f"espl-s{seed}", ScriptedEngine())
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "results"


def add(root: Path, *arguments: object, code: int = 0) -> None:
    assert invoke(["results", "add", *map(str, arguments), "--results", str(root), "--quiet"]) == code


def check(root: Path, capsys: Capture) -> list[str]:
    capsys.readouterr()
    code = invoke(["results", "check", "--results", str(root), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["sound"] else 1)
    return found["faults"]


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_a_folder_of_runs_is_graded_again_and_published_in_one_go(runs: Path, root: Path, capsys: Capture):
    add(root, runs)
    study = root / "rulebook"
    assert len(list(study.glob(f"*{SUFFIX}"))) == 4
    assert check(root, capsys) == []
    for path in study.glob(f"*{SUFFIX}"):
        result = read_result(path)
        assert path.name == result.file_name and path.stat().st_size < 60_000
        original = RunDir(runs / f"{result.summary.method}-s{result.summary.seed}")
        assert result.summary == original.summary()
        rows = original.read_rollouts(result.summary.steps, decode, Split.TEST)
        assert [outcome for row in result.sample_outcomes for outcome in row] == [row["outcome"] for row in rows]
        assert result.config["eval_samples"] == 2 and result.regraded.rollouts >= 200
        assert result.origin.started_utc and result.origin.packages["torch"]


def test_a_table_of_results_is_that_of_their_runs_to_the_byte(runs: Path, root: Path):
    add(root, runs)
    text = (root / "rulebook" / generated.TABLE).read_text()
    from espl_bench.leaderboard.markup import to_markdown

    assert text == to_markdown(build_board(collect([runs]).entries).sheets())


def test_adding_again_changes_nothing(runs: Path, root: Path, capsys: Capture):
    add(root, runs)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    capsys.readouterr()
    add(root, runs / "espl-s0", "--json")
    said = json.loads(capsys.readouterr().out)
    assert (said["added"], len(said["there_already"]), said["written"]) == ([], 1, [])
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_an_unfinished_run_is_refused_and_so_is_everything_beside_it(runs: Path, root: Path, tmp_path: Path, capsys: Capture):
    copied = Path(shutil.copytree(runs, tmp_path / "copy"))
    (copied / "espl-s1" / "summary.json").unlink()
    add(root, copied, code=1)
    said = capsys.readouterr().err
    refused = "1 of 4 runs were refused, and nothing was published"
    assert "espl-s1 is not finished" in said and "espl-bench resume" in said and refused in said
    assert not root.exists()


def test_a_changed_run_is_refused_by_its_first_difference(runs: Path, root: Path, tmp_path: Path, capsys: Capture):
    copied = Path(shutil.copytree(runs / "base-s0", tmp_path / "base-s0"))
    edit(copied / "summary.json", lambda record: record.update(score=0.99))
    add(root, copied, code=1)
    assert "was changed or is damaged" in capsys.readouterr().err


def test_a_seed_is_published_once_unless_it_is_replaced(runs: Path, root: Path, tmp_path: Path, capsys: Capture):
    add(root, runs)
    other = tmp_path / "other"
    run(make_scripted_config(method="base", seed=0, eval_samples=2, root_principles=("dax larger",)), other, ScriptedEngine())
    add(root, other, code=1)
    assert "seed 0 of base on rulebook is already published" in capsys.readouterr().err
    add(root, other, "--study", "told")
    assert (root / "told" / generated.TABLE).exists()
    add(root, other, "--replace", code=1)  # the other seed of the row has another root prompt
    assert "was run with another configuration than seed 1: root_principles" in capsys.readouterr().err
    assert check(root, capsys) == []


def test_a_seed_takes_anothers_place_with_replace(runs: Path, root: Path, tmp_path: Path, capsys: Capture):
    add(root, runs / "base-s0")
    other = tmp_path / "other"
    run(make_scripted_config(method="base", seed=0, eval_samples=2, temperature=0.5), other, ScriptedEngine())
    add(root, other, "--replace")
    [path] = (root / "rulebook").glob(f"*{SUFFIX}")
    assert read_result(path).config["temperature"] == 0.5
    assert check(root, capsys) == []


def test_other_items_are_refused(runs: Path, root: Path):
    result = adding.examine(runs / "base-s0", lambda done, total: None)
    foreign = result.model_copy(update={"summary": result.summary.model_copy(update={"seed": 7, "data_identity": {"test": "f" * 64}})})
    adding.add([result], root, None, replace=False)
    with pytest.raises(RunDirError, match=r"its items on rulebook .* differ from those of"):
        adding.add([foreign], root, None, replace=False)


SPOILT = {
    "score": (lambda record: record["summary"].update(score=0.9), "is not the mean of its samples"),
    "sample": (lambda record: record["summary"]["sample_scores"][3].__setitem__(0, 0.125), "is not the mean of its samples"),
    "outcome": (lambda record: record["sample_outcomes"][0].__setitem__(0, "truncated"), "shares of outcomes"),
    "seed": (lambda record: record["config"].update(seed=5), "summary and configuration differ in seed"),
    "choice": (lambda record: record["config"].update(temperature=0.5), "summary and configuration differ in temperature"),
    "unknown": (lambda record: record.update(extra=1), "is not a published result: extra"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_record_that_was_edited_is_found(kind: str, runs: Path, root: Path, capsys: Capture):
    change, expected = SPOILT[kind]
    add(root, runs / "base-s0")
    [path] = (root / "rulebook").glob(f"*{SUFFIX}")
    edit(path, change)
    faults = check(root, capsys)
    assert any(expected in fault and path.name in fault for fault in faults)


def test_a_copy_under_another_name_is_found(runs: Path, root: Path, capsys: Capture):
    add(root, runs / "base-s0")
    [path] = (root / "rulebook").glob(f"*{SUFFIX}")
    shutil.copy(path, path.with_name(f"copy{SUFFIX}"))
    faults = " ".join(check(root, capsys))
    assert "rename it to" in faults and "is already published" in faults


@pytest.mark.parametrize("name", [f"rulebook/{generated.TABLE}", generated.OVERVIEW])
def test_a_generated_file_that_was_edited_is_stale_until_it_is_made_anew(name: str, runs: Path, root: Path, capsys: Capture):
    add(root, runs)
    (root / name).write_text((root / name).read_text().replace("0", "1", 1))
    [fault] = check(root, capsys)
    assert f"{name} is stale" in fault
    assert invoke(["results", "check", "--write", "--results", str(root)]) == 0
    assert check(root, capsys) == []


@pytest.mark.parametrize("kind", [generated.TABLE, SUFFIX])
def test_a_generated_file_or_record_that_is_a_fifo_is_not_waited_for(kind: str, runs: Path, root: Path, capsys: Capture):
    add(root, runs)
    path = sorted(path for path in (root / "rulebook").iterdir() if path.name.endswith(kind))[0]
    path.unlink()
    os.mkfifo(path)
    capsys.readouterr()
    assert invoke(["results", "check", "--results", str(root)]) == 1
    said = capsys.readouterr()
    assert path.name in said.out + said.err and "it is a FIFO" in said.out + said.err


def test_notes_of_a_study_stand_in_the_list_of_runs(runs: Path, root: Path):
    add(root, runs)
    plain = (root / generated.OVERVIEW).read_text()
    (root / "rulebook" / generated.NOTES).write_text("Made before the editor was changed.\n")
    assert list(generated.stale(root)) and generated.write(root) == [root / generated.OVERVIEW]
    noted = (root / generated.OVERVIEW).read_text()
    assert noted.replace("Made before the editor was changed.\n\n", "") == plain != noted


def test_list_names_every_run(runs: Path, root: Path, capsys: Capture):
    assert invoke(["results", "list", "--results", str(root)]) == 0
    assert "nothing is published" in capsys.readouterr().out
    add(root, runs)
    capsys.readouterr()
    assert invoke(["results", "list", "--results", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted((each["row"], each["seed"]) for each in found) == [("base", 0), ("base", 1), ("espl", 0), ("espl", 1)]


@pytest.mark.parametrize("kind", ["cut", "fifo", "link", "deep", "item"])
def test_a_damaged_record_is_left_out_of_the_list(kind: str, runs: Path, root: Path, capsys: Capture):
    add(root, runs)
    names = [path.name for path in sorted((root / "rulebook").glob(f"*{SUFFIX}"))]
    spoil(root / "rulebook" / names[1], kind)
    capsys.readouterr()
    assert invoke(["results", "list", "--results", str(root), "--json"]) == 0
    said = capsys.readouterr()
    assert [Path(each["file"]).name for each in json.loads(said.out)] == [names[0], *names[2:]]
    assert "left out" in said.err and names[1] in said.err and len(said.err.splitlines()) == 1
    assert invoke(["table", str(root), "--json"]) == 0
    for name in names:
        spoil(root / "rulebook" / name, "cut")
    assert invoke(["results", "list", "--results", str(root)]) == 1
    assert "is not a published result" in capsys.readouterr().err


def spoil(path: Path, kind: str) -> None:
    whole = path.read_bytes() if path.is_file() else b""
    path.unlink()
    match kind:
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/dev/zero")
        case "item":
            record = json.loads(whole)
            del record["summary"]["sample_scores"][3]
            path.write_text(json.dumps(record))
        case _:
            path.write_bytes(b"[" * 100_000)


def test_no_folder_of_the_machine_is_published(runs: Path, root: Path):
    add(root, runs)
    assert without_folders({"a": ["/home/me/model", "b/c", 3], "d": "/x"}) == {"a": ["model", "b/c", 3], "d": "x"}
    for path in root.rglob("*"):
        assert not path.is_file() or (str(runs) not in path.read_text() and "/site-packages" not in path.read_text())


FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "method": lambda summary: summary.update(method="rl_only"),
    "model": lambda summary: summary.update(model="a-better-model"),
    "engine": lambda summary: summary.update(engine="vllm"),
    "seed": lambda summary: summary.update(seed=7),
    "label": lambda summary: summary.update(label="mine"),
    "options": lambda summary: summary.update(env_options={"world": 9}),
    "choices": lambda summary: summary["choices"].update(lr=7.0),
    "id": lambda summary: summary.update(run_id="rulebook-espl-s0-00000000"),
    "ledger tokens": lambda summary: summary["ledger"].update(generated_tokens=1),
    "ledger seconds": lambda summary: summary["ledger"].update(wall_s=0.5),
    "ledger calls": lambda summary: summary["ledger"].update(reflection_calls=0),
    "price": lambda summary: summary.update(cost_usd=0.01),
    "prompt": lambda summary: summary.update(shown_prompt=["dax larger"]),
    "quotes": lambda summary: summary.update(quotes=["G0 quotes test/1"]),
    "measures": lambda summary: summary.update(measures={"f1": 1.0}),
    "training": lambda summary: summary.update(training_outcomes={"correct": 1.0}),
    "items": lambda summary: summary.update(data_identity={"test": "f" * 64}),
    "bound": lambda summary: summary.update(bound={"model": "0" * 12}),
    "allowed": lambda summary: summary.update(allowed_changes=["config lr 1 -> 2 after step 1"]),
    "curve": lambda summary: summary["curve"][-1]["spent"].update(seconds=0.25),
}


@pytest.mark.parametrize("kind", FORGED)
def test_nothing_in_a_summary_is_believed(kind: str, runs: Path, root: Path, tmp_path: Path, capsys: Capture):
    copied = Path(shutil.copytree(runs / "espl-s0", tmp_path / "espl-s0"))
    edit(copied / "summary.json", FORGED[kind])
    add(root, copied, code=1)
    assert "was changed or is damaged" in capsys.readouterr().err and not root.exists()
    assert invoke(["verify", str(copied), "--quiet"]) == 1


def test_a_run_that_is_older_than_an_option_had_its_default(runs: Path, tmp_path: Path):
    copied = Path(shutil.copytree(runs / "espl-s0", tmp_path / "espl-s0"))
    edit(copied / "summary.json", lambda summary: [summary["choices"].pop(option) for option in ("teacher", "schedule")])
    differences = verify(RunDir.open(copied), lambda *_: None).differences
    assert [difference.what for difference in differences] == ["hash of what it says"], "which a real one has of what it says"


@pytest.mark.parametrize("kind", FORGED)
def test_nothing_in_a_record_is_believed(kind: str, runs: Path, root: Path, capsys: Capture):
    add(root, runs / "espl-s0")
    [path] = (root / "rulebook").glob(f"*{SUFFIX}")
    edit(path, lambda record: FORGED[kind](record["summary"]))
    assert any("its hash is not that of what it says" in fault for fault in check(root, capsys))


NAMES = {
    "above": {"run_id": "../../stolen"},
    "other": {"run_id": "rulebook-rl/s0"},
    "hidden": {"run_id": ".bashrc"},
    "rows": {"label": "x |\n| [forged](y) | espl | 0 | 99.9 | abc | now |"},
    "terminal": {"model": "\x1b]52;c;ZWNobw==\x07"},
    "study": {"env": "../elsewhere"},
    "bidi": {"method": "espl\u202e"},
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_that_is_none_is_refused(kind: str, runs: Path, root: Path, tmp_path: Path, capsys: Capture):
    copied = Path(shutil.copytree(runs / "espl-s0", tmp_path / "runs" / "espl-s0"))
    edit(copied / "summary.json", lambda summary: summary.update(NAMES[kind]))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    add(root, copied, code=1)
    said = capsys.readouterr().err
    assert "not a name: it" in said and said.count("\n") == 1 and "\x1b" not in said and "\u202e" not in said
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_record_names_the_logs_it_was_derived_from(runs: Path, root: Path):
    add(root, runs / "espl-s0")
    [path] = (root / "rulebook").glob(f"*{SUFFIX}")
    result = read_result(path)
    assert set(result.regraded.logs_sha256) == {"evaluations.jsonl", "metrics.jsonl", "population.jsonl", "timing.jsonl"}
    assert result.content_sha256 == result.hashed()
