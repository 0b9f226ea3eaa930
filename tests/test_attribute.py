"""`attribute` on a real run: every cell is evaluated once, kept, and two of them are known from elsewhere."""

import json
from pathlib import Path

import pytest
from loop_fixtures import make_scripted_config, run
from scripted_engine import ScriptedEngine

from espl_bench import runner
from espl_bench.attribution import FILE
from espl_bench.cli import invoke

CHOICES = {"steps": 2, "eval_samples": 2}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for seed in (0, 1):
        run(make_scripted_config(seed=seed, **CHOICES), folder / f"espl-s{seed}", ScriptedEngine())
    run(make_scripted_config(method="base", seed=0, eval_samples=2), folder / "base-s0", ScriptedEngine())
    return folder


def test_cells_are_what_the_runs_themselves_found(study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "open_engine", lambda config: ScriptedEngine())
    assert invoke(["attribute", str(study / "espl-s0"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    scores = {name: json.loads((study / name / "summary.json").read_text())["score"] for name in ("espl-s0", "base-s0")}
    assert found["scores"]["trained/evolved"] == pytest.approx(scores["espl-s0"])
    assert found["scores"]["base/root"] == pytest.approx(scores["base-s0"])
    assert len(found["scores"]) == 6, "the other seed beside it was found"

    def no_engine(config):
        raise AssertionError("everything is on file")

    monkeypatch.setattr(runner, "open_engine", no_engine)
    assert invoke(["attribute", str(study / "espl-s0"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert invoke(["attribute", str(study / "espl-s0")]) == 0
    said = capsys.readouterr().out
    assert "evolved prompt" in said and "of another seed" in said and "interaction" in said and "one run: the intervals" in said
    kept = json.loads((study / "espl-s0" / FILE).read_text())
    assert {(cell["weights"], cell["words"]) for cell in kept["cells"]} == {
        (weights, words) for weights in ("base", "trained") for words in ("root", "evolved", "other_seed")
    }
    assert invoke(["verify", str(study / "espl-s0"), "--quiet"]) == 0


def test_a_damaged_file_of_cells_is_named(study: Path, capsys: pytest.CaptureFixture[str]):
    (study / "espl-s1" / FILE).write_text("{")
    assert invoke(["attribute", str(study / "espl-s1")]) == 1
    assert f"{FILE} cannot be read" in capsys.readouterr().err
