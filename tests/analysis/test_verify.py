"""`espl-bench verify`: a run is what its stored rollouts say, and whatever was changed afterwards is found and named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_fixtures import write_jsonl
from loop_fixtures import make_scripted_config, run
from says_two import SaysTwo
from scripted_engine import ScriptedEngine

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.config.resolve import resolve
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Split
from espl_bench.utils.jsonl import decode

Capture = pytest.CaptureFixture[str]
OUTCOMES = "'correct', 'wrong', 'no_answer', 'truncated', 'timeout' or 'error'"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(make_scripted_config(steps=3, eval_every=2, test_every=2, eval_samples=2), folder, ScriptedEngine())
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A finished run, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def verified(capsys: Capture, folder: Path, code: int) -> str:
    assert invoke(["verify", str(folder)]) == code
    out, err = capsys.readouterr()
    assert err == "", "no bar where there is no terminal"
    return out


def differences(capsys: Capture, folder: Path) -> list[tuple[str, str, str, str]]:
    assert invoke(["verify", str(folder), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert not record["agrees"]
    return [tuple(each.values()) for each in record["differences"]]


def change(path: Path, line: int, edit: Callable[[dict[str, Any]], dict[str, Any] | str]) -> None:
    lines = path.read_text().splitlines()
    edited = edit(json.loads(lines[line]))
    lines[line] = edited if isinstance(edited, str) else json.dumps(edited)
    path.write_text("\n".join(lines) + "\n")


def test_a_run_that_was_left_alone_agrees_in_one_line(finished: Path, capsys: Capture):
    summary = RunDir(finished).summary()
    said = verified(capsys, finished, 0)
    number = 3 * 3 * 4 * 4 + 3 * 64 * 2 + 3 * 100 * 2
    assert said == (
        f"{finished}: {number:,} rollouts in 9 files, re-graded, agree with the run's records: "
        f"test {summary.score:.1%} over 100 items x 2\n".replace("%", " %")
    )
    assert invoke(["verify", str(finished), "--json", "--quiet"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["agrees"], record["rollouts"], record["differences"]) == (True, number, [])


def test_an_unfinished_run_is_verified_as_far_as_it_goes(folder: Path, capsys: Capture):
    (folder / "summary.json").unlink()
    assert "it is unfinished and has no result yet" in verified(capsys, folder, 0)


def test_a_reward_that_was_changed_is_named_with_its_line(folder: Path, capsys: Capture):
    def flip(row):
        right = row["outcome"] == "correct"
        return row | {"reward": 0.0 if right else 1.0, "outcome": "wrong" if right else "correct"}

    change(folder / "rollouts/test_000003.jsonl", 4, flip)
    found = differences(capsys, folder)
    assert [place for place, *_ in found] == ["rollouts/test_000003.jsonl line 5"] * 2
    assert {what.split(" of ")[0] for _, what, *_ in found} == {"outcome", "reward"}
    said = verified(capsys, folder, 1)
    assert "rollouts/test_000003.jsonl line 5" in said and "the run says" in said and "2 differences in " in said


def test_a_response_that_was_changed_moves_all_that_rests_on_it(folder: Path, capsys: Capture):
    rows = RunDir(folder).read_rollouts(3, decode, Split.TEST)
    place = next(place for place, row in enumerate(rows) if row["outcome"] == "correct")
    change(folder / "rollouts/test_000003.jsonl", place, lambda row: row | {"turns": ["answer ?"]})
    whats = {what for _, what, *_ in differences(capsys, folder)}
    assert {"test score", "test score, graded again", "outcomes", f"rewards of item {place // 2}"} <= whats


def test_a_training_rollout_is_looked_at_like_any_other(folder: Path, capsys: Capture):
    change(folder / "rollouts/step_000002.jsonl", 0, lambda row: row | {"generated_tokens": row["generated_tokens"] + 1})
    [(place, what, _, _)] = differences(capsys, folder)
    assert (place, what) == ("metrics.jsonl step 2", "generated tokens")


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda row: '{"problem_id": ', "not JSON (Expecting value)"),
        (lambda row: "[]", "not a JSON object"),
        (lambda row: {name: row[name] for name in row if name != "turns"}, "no field 'turns'"),
        (lambda row: row | {"turns": "answer 4"}, "field 'turns' should be a valid array, not \"answer 4\""),
        (lambda row: row | {"turns": ["answer", None]}, "field 'turns.1' should be a valid string, not null"),
        (lambda row: row | {"outcome": "splendid"}, f"field 'outcome' should be {OUTCOMES}, not \"splendid\""),
        (lambda row: row | {"problem_id": "test/500"}, "of the item test/500, which the environment does not have"),
        (lambda row: row | {"answer": "77"}, "of another test/0 than the environment's"),
    ],
)
def test_a_damaged_line_is_named_by_file_and_number(edit: Callable[[Any], Any], why: str, folder: Path, capsys: Capture):
    change(folder / "rollouts/test_000003.jsonl", 1, edit)
    assert differences(capsys, folder) == [("rollouts/test_000003.jsonl line 2", "line", "a rollout", why)]


def test_a_file_that_was_cut_or_is_missing_is_named(folder: Path, capsys: Capture):
    cut = folder / "rollouts/test_000000.jsonl"
    cut.write_bytes(cut.read_bytes()[:-5])
    (folder / "rollouts/validation_000002.jsonl").unlink()
    found = {place: rest for place, *rest in differences(capsys, folder)}
    assert found["rollouts/validation_000002.jsonl"] == ["file", "rollouts", "cannot be read (No such file or directory)"]
    assert found["rollouts/test_000000.jsonl line 200"] == ["line", "a rollout", "not JSON (Unterminated string starting at)"]


def test_rollouts_that_were_left_out_are_missed(folder: Path, capsys: Capture):
    path = folder / "rollouts/test_000003.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    found = {what: (stated, there) for _, what, stated, there in differences(capsys, folder)}
    assert found["test rollouts"] == ("100 items x 2 samples, in order", "198 others") and found["items"] == ("100", "99")


def test_a_result_that_was_polished_is_found(folder: Path, capsys: Capture):
    record = json.loads((folder / "summary.json").read_text())
    record["score"] += 0.1
    record["sample_scores"][7][0] += 0.5
    (folder / "summary.json").write_text(json.dumps(record))
    assert {what for place, what, *_ in differences(capsys, folder)} == {"test score", "test score, graded again", "rewards of item 7"}


def test_what_is_no_run_and_other_data_are_one_line(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    assert invoke(["verify", str(tmp_path / "nowhere")]) == 1
    assert "holds no run" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    write_jsonl(Path("test.jsonl"), [{"problem": f"What is {n}/2?", "answer": f"{n}/2"} for n in range(3, 9)])
    config = resolve("base", "jsonl", {"model": "m", "env_options": {"test": "test.jsonl"}})
    runner.run(config, Path("run"), engine=SaysTwo())
    assert "24 rollouts in 1 files" in verified(capsys, Path("run"), 0)
    assert RunDir(Path("run")).summary().score == pytest.approx(1 / 6), "4/2 is 2: by math-verify"
    write_jsonl(Path("test.jsonl"), [{"problem": f"What is {n}/2?", "answer": f"{n}/2"} for n in range(4, 10)])
    assert invoke(["verify", "run"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "run was started on other data: test " in err and err.count("\n") == 1


def test_verifying_needs_no_model(finished: Path):
    assert RunDir(finished).config().model == "scripted", "no folder of a model: it could not be loaded"
    assert invoke(["verify", str(finished), "--quiet"]) == 0


def test_a_resumed_run_is_verified_like_an_unbroken_one(folder: Path, capsys: Capture):
    runner.resume(folder, engine=ScriptedEngine())
    assert "9 files" in verified(capsys, folder, 0)
