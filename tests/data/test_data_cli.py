"""`espl-bench data` and `espl-bench envs`, as typed."""

import json
from pathlib import Path
from typing import Any

import pytest
from data_fixtures import TEST_DATA, write_jsonl
from espl_envs.math import rows, sources

from espl_bench.cli.app import invoke
from espl_bench.data.dataset_spec import DataSpec

AIME = [{"problem": f"What is {n} + 0?", "answer": f"0{n}"} for n in range(40, 60)]
Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: str, code: int = 0) -> str:
    assert invoke(["data", *arguments]) == code
    out, err = capsys.readouterr()
    return " ".join((err if code else out).split())


def record(capsys: Capture, *arguments: str) -> Any:
    assert invoke(["data", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_status_names_what_is_missing_and_the_way_to_it(data_home: Path, capsys: Capture, tmp_path: Path):
    said = run(capsys, "status")
    assert str(data_home) in said and "espl-bench data get hmmt25" in said and "(non-commercial)" in said
    assert "espl-bench data import hmmt25 --split train --source hmmt-feb-2023 --from FILE" in said
    run(capsys, "import", "beyondaime", "--split", "train", "--from", str(write_jsonl(tmp_path / "a.jsonl", AIME)))
    found = {(each["env"], each["source"]): each for each in record(capsys, "status")["sets"]}
    for env in ("beyondaime", "beyondaime-amc"):
        shared = found[env, "aime-2022-2024"]
        assert (shared["stored"], shared["items"], shared["origin"]) == (True, 20, "file a.jsonl"), "one set serves both"
    assert not found["beyondaime", "beyondaime"]["stored"]
    [manifest] = (data_home / "aime-2022-2024").glob("manifest.json")
    manifest.write_text("{")
    assert "manifest.json is damaged" in run(capsys, "status")


def test_an_import_tells_what_it_did(data_home: Path, capsys: Capture, tmp_path: Path):
    file = write_jsonl(tmp_path / "a.jsonl", [*AIME, *AIME[:3], {"problem": "What is 40 + 0?", "answer": "41"}])
    refused = run(capsys, "import", "beyondaime", "--split", "train", "--from", str(file), code=1)
    assert "1 problems come with several answers (row 0)" in refused and refused.endswith(
        "let the last answer count with --allow-conflicts"
    )
    said = run(capsys, "import", "beyondaime", "--split", "train", "--from", str(file), "--allow-conflicts")
    assert "aime-2022-2024: 20 items from file a.jsonl" in said and "licence apache-2.0" in said
    assert "4 of 24 rows repeated a problem and were left out" in said
    assert "1 problems had several answers; the last one counts (rows 0, from 0)" in said
    assert "90 items were expected" in said and "this differs from the recorded text (dd7f1f62a576" in said
    manifest = record(capsys, "import", "beyondaime", "--split", "train", "--from", str(file), "--allow-conflicts")
    assert (manifest["items"], manifest["conflicts"], manifest["origin"]["file"]) == (20, [0], "a.jsonl")


MISTAKES = {
    ("status", "--jsn"): "unknown option '--jsn'",
    ("stat",): "unknown command 'stat'; did you mean 'status'?",
    ("get", "beyondaim"): "unknown environment 'beyondaim'; did you mean 'beyondaime'?",
    ("get", "rulebook"): "environment 'rulebook' has no data set to fetch or import",
    ("get", "hmmt25", "--source", "hmmt-feb-23"): "did you mean 'hmmt-feb-2023'?",
    ("get", "hmmt25", "--revision", "main"): "--revision applies to one data set, but hmmt25 has 4; name one with --source",
    ("import", "math500", "--split", "train", "--from", "FILE"): "the train split of math500 takes no data of its own (evaluation only)",
    ("import", "math500", "--split", "tst", "--from", "FILE"): "unknown split 'tst'; did you mean 'test'?",
    ("import", "hmmt25", "--split", "train", "--from", "FILE"): "several sources; name one with --source: hmmt-feb-2023, hmmt-feb-2024",
    ("import", "hmmt25", "--split", "train", "--source", "x", "--from", "FILE"): "unknown source of hmmt25's train split 'x'",
    ("import", "math500", "--split", "test", "--from", "FILE", "--answer-column", "anser"): "did you mean 'answer'?",
    ("import", "math500", "--split", "test", "--from", "nowhere.jsonl"): "nowhere.jsonl does not exist",
    ("import", "math500", "--split", "test"): "Missing option '--from'",
    ("check", "jsonl"): "jsonl needs a file to test on",
    ("check", "math500", "--against", "beyond"): "unknown environment 'beyond'",
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.items())
def test_a_mistake_is_one_line(arguments: tuple[str, ...], words: str, data_home: Path, capsys: Capture, tmp_path: Path):
    file = write_jsonl(tmp_path / "a.jsonl", AIME)
    said = run(capsys, *(str(file) if argument == "FILE" else argument for argument in arguments), code=2)
    assert words in said
    assert not data_home.exists(), "a mistake leaves nothing behind"


def test_get_fetches_what_is_missing_and_keeps_what_is_there(
    data_home: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from dataclasses import replace

    from espl_envs.math import spec as specs

    folders = {name: tmp_path / name for name in ("train", "test")}
    for place, folder in enumerate(folders.values()):
        folder.mkdir()
        write_jsonl(folder / "data.jsonl", [{"problem": f"What is {n} + {place}?", "answer": f"0{n}"} for n in range(20)])
    data = DataSpec(
        train=(replace(sources.AIME_2022_2024, hub_id=str(folders["train"])),),
        test=(replace(sources.BEYONDAIME, hub_id=str(folders["test"]), hub_split="train"),),
        split_rule=rows.HELD_OUT,
    )
    near = replace(specs.BEYONDAIME, data=data)
    monkeypatch.setattr("espl_bench.cli.commands.data.find_environment", lambda *_: near)
    assert [each["items"] for each in record(capsys, "get", "beyondaime")["sets"]] == [20, 20]
    assert record(capsys, "get", "beyondaime")["sets"] == [], "both are there"
    assert len(record(capsys, "get", "beyondaime", "--again", "--source", "beyondaime")["sets"]) == 1
    assert invoke(["data", "check", "beyondaime"]) == 0
    assert "90" in capsys.readouterr().out


def test_get_without_a_network_names_every_file_that_is_wanted(data_home: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    from espl_bench.errors import DataError

    def unreachable(source: Any, remedy: str, rules: Any, progress: bool) -> Any:
        raise DataError(f"cannot fetch {source.hub_id}: {remedy}")

    monkeypatch.setattr("espl_bench.data.hub.fetch", unreachable)
    said = run(capsys, "get", "beyondaime", code=1)
    assert said.endswith("import beyondaime --split train --from FILE ; espl-bench data import beyondaime --split test --from FILE")


def test_check_on_real_data_finds_what_is_known(real_data: Path, capsys: Capture):
    found = record(capsys, "check", "aime25", "--against", "beyondaime-amc", "--against", "math500", "--against", "hmmt25")
    shared = {(each["first"], each["second"]): len(each["pairs"]) for each in found["elsewhere"]}
    assert shared["dapo-math-17k", "aime-2022-2024"] == 7 and shared["dapo-math-17k", "math-500"] == 3
    assert shared["dapo-math-17k", "amc12-2022-2023"] >= 2 and shared["dapo-math-17k", "hmmt-feb-2024"] >= 1
    assert not any(count for (first, _), count in shared.items() if first == "aime-2025")
    assert [split["items"] for split in found["splits"]] == [78, 22, 30]
    said = run(capsys, "check", "aime25", "--against", "beyondaime")
    assert "dapo-math-17k and aime-2022-2024: 7 problems the same, 0 nearly" in said
    assert "the 100 problems are drawn by a shuffle, so another copy" in said and "licence apache-2.0" in said


def test_check_tells_what_is_wrong_with_files_of_ones_own(data_home: Path, capsys: Capture, tmp_path: Path):
    train = [{"problem": f"How much is {n} and {n}, in all?", "answer": 2 * n} for n in range(30)]
    test = [
        train[3],
        {"problem": "What, in all, is 7?", "answer": "the set {7"},
        train[3] | {"problem": "how much is 3 and 3: in all"},
    ]
    files = [f"--data={name}={write_jsonl(tmp_path / f'{name}.jsonl', each)}" for name, each in (("train", train), ("test", test))]
    found = record(capsys, "check", "jsonl", *files, "--env-option", "holdout=0")
    [_, tested] = found["splits"]
    assert [(each["id"], each["response"], each["outcome"]) for each in tested["unaccepted"]] == [("test/1", "own", "no_answer")]
    assert len(tested["repetitions"]) == 1
    assert [len(each["pairs"]) for each in found["overlaps"]] == [2]
    said = run(capsys, "check", "jsonl", *files, "--env-option", "holdout=0")
    assert "test/1 own: no_answer the set {7" in said and "train and test: 2 problems the same" in said


def test_environments_are_listed_with_licences_whether_their_data_are_there_or_not(real_data: Path, capsys: Capture):
    assert invoke(["envs", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["math500"]["items"] == {"train": 0, "validation": 0, "test": 500}
    assert found["hmmt25"]["items"] is None and "hmmt-feb-2023" in found["hmmt25"]["needs"]
    assert {each["licence"] for each in found["hmmt25"]["data"]} == {"cc-by-nc-sa-4.0 (non-commercial)"}
    assert invoke(["envs"]) == 0
    assert "(non-commercial)" in capsys.readouterr().out


def test_what_a_data_set_says_is_printed_literally(data_home: Path, capsys: Capture, tmp_path: Path):
    nasty = "[bold]x[/bold] \x1b[31m"
    test = [{"problem": f"{nasty} {n}", "answer": n} for n in (1, 1)] + [{"problem": f"{nasty}: 1", "answer": 1}]
    file = write_jsonl(tmp_path / "a.jsonl", test)
    assert invoke(["data", "check", "jsonl", f"--data=test={file}"]) == 0
    out = capsys.readouterr().out
    assert "[bold]x[/bold]" in out and "\x1b[31m" not in out


def test_the_test_data_are_where_they_should_be():
    assert not TEST_DATA.is_dir() or (TEST_DATA / "aime_2022_2024.jsonl").is_file()
