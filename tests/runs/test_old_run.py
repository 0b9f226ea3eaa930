"""A finished run of the version before rows had types, `support/old_run`: every command that reads runs still reads it.

It was made at commit 820872d with ``espl-bench run --method espl --env rulebook --steps 4 --num-prompts 2 --batch-size 8 --group-size 4
--lora-rank 2 --lr 4e-3 --eval-every 4 --eval-samples 2 --checkpoint-every 4``. Left out are folders of the machine, the checkpoint of
step 0 and the moments of the optimizer, which only a resume needs.
"""

import json
import shutil
from pathlib import Path

import pytest

from espl_bench.cli.app import invoke
from espl_bench.runs.run_dir import RunDir
from espl_bench.runs.summary import Summary

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(__file__).parents[1] / "support" / "old_run", tmp_path / "old_run"))


@pytest.fixture
def summary(folder: Path) -> Summary:
    return RunDir.open(folder).summary()


def said(capsys: Capture, *arguments: str | Path) -> str:
    assert invoke([str(each) for each in arguments]) == 0
    return capsys.readouterr().out


def test_it_is_older_than_versions_and_names_no_machine(folder: Path):
    assert not (folder / "formats.json").exists()
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert sum(map(len, files)) < 500_000
    described = [path.read_text() for path in folder.rglob("*.json")]
    assert len(described) == 5 and not any('"/' in text for text in described)


def test_show_prints_its_figures(folder: Path, summary: Summary, capsys: Capture):
    text = said(capsys, "show", folder)
    assert f"finished, {summary.steps} steps" in text
    assert f"{100 * summary.score:.1f} % (" in text and f"validation {100 * (summary.validation_score or 0):.1f} %" in text
    record = json.loads(said(capsys, "show", folder, "--json"))
    assert record["summary"] == json.loads((folder / "summary.json").read_text())
    logged = [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]
    assert record["evaluations"] == logged
    births = [row for row in map(json.loads, (folder / "population.jsonl").read_text().splitlines()) if row["event"] == "born"]
    assert [(prompt["id"], prompt["principles"], prompt["evidence"]) for prompt in record["prompts"]] == [
        (row["id"], row["principles"], row["evidence"]) for row in births
    ]
    first = json.loads((folder / "rollouts" / "step_000004.jsonl").read_text().splitlines()[0])
    assert record["rollout"] == {**first, "step": 4, "place": 0}


def test_table_prints_its_score(folder: Path, summary: Summary, capsys: Capture):
    record = json.loads(said(capsys, "table", folder, "--format=json"))
    [row] = record["tables"][0]["rows"]
    assert (row["method"], row["score"]) == ("espl", pytest.approx(summary.score))
    assert f"{100 * summary.score:.1f}" in said(capsys, "table", folder)


def test_report_holds_all_its_rollouts(folder: Path, tmp_path: Path):
    page = tmp_path / "report.html"
    assert invoke(["report", str(folder), "--out", str(page), "--quiet"]) == 0
    assert f'"stored":{rollouts(folder)},"kept":{rollouts(folder)}' in page.read_text(encoding="utf-8").replace(" ", "")


def rollouts(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in RunDir.open(folder).rollout_paths())


def test_verify_agrees(folder: Path, summary: Summary, capsys: Capture):
    text = said(capsys, "verify", folder, "--quiet")
    assert f"{rollouts(folder):,} rollouts in {len(RunDir.open(folder).rollout_paths())} files" in text
    assert f"test {100 * summary.score:.1f} % over {summary.n_items} items x {summary.k}" in text


def test_attribute_finds_its_score_again(folder: Path, summary: Summary, lab_model: Path, capsys: Capture):
    found = json.loads(said(capsys, "attribute", folder, "--model", lab_model, "--json", "--quiet"))
    assert found["scores"].keys() == {f"{weights}/{words}" for weights in ("base", "trained") for words in ("root", "evolved")}
    assert found["scores"]["trained/evolved"] == pytest.approx(summary.score, abs=0.02), "to rounding on another processor"
    kept = json.loads((folder / "attribution.json").read_text())
    assert kept["step"] == summary.steps and len(kept["cells"]) == 4
