"""`attribute` on a real run: every cell is evaluated once, kept, and two of them are known from elsewhere."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from loop_fixtures import make_scripted_config, run
from scripted_engine import ScriptedEngine

from espl_bench.analysis.attribution import FILE, PromptChoice, attribute
from espl_bench.cli.app import invoke
from espl_bench.config.run_config import RunConfig
from espl_bench.errors import UsageError
from espl_bench.results.attributions import published
from espl_bench.runs.run_dir import RunDir
from espl_bench.utils.hashing import fingerprint

CHOICES: dict[str, Any] = {"steps": 2, "eval_samples": 2}


def say_nothing(cell: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for seed in (0, 1):
        run(make_scripted_config(seed=seed, **CHOICES), folder / f"espl-s{seed}", ScriptedEngine())
    run(make_scripted_config(method="base", seed=0, eval_samples=2), folder / "base-s0", ScriptedEngine())
    return folder


def test_cells_are_what_the_runs_themselves_found(study: Path, capsys: pytest.CaptureFixture[str]):
    attribute([study / "espl-s0"], [study / "espl-s1"], say_nothing, open_engine=lambda config: ScriptedEngine())
    assert RunDir(study / "espl-s0").config().model == "scripted", "no folder of a model, so that all must be on file from here on"
    assert invoke(["attribute", str(study / "espl-s0"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    scores = {name: json.loads((study / name / "summary.json").read_text())["score"] for name in ("espl-s0", "base-s0")}
    assert found["scores"]["trained/evolved"] == pytest.approx(scores["espl-s0"])
    assert found["scores"]["base/root"] == pytest.approx(scores["base-s0"])
    assert len(found["scores"]) == 6, "the other seed beside it was found"

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


def test_a_model_that_was_moved_is_named_and_must_be_the_same(study: Path, tmp_path: Path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.json").write_text("{}")
    run_dir = tmp_path / "espl-s0"
    shutil.copytree(study / "espl-s0", run_dir, ignore=shutil.ignore_patterns(FILE))
    provenance = json.loads((run_dir / "provenance.json").read_text())
    begun = fingerprint(tmp_path / "here")
    assert begun is not None
    (run_dir / "provenance.json").write_text(json.dumps(provenance | {"model": {"name": "gone", "fingerprint": begun}}))
    opened: list[str] = []

    def open_engine(config: RunConfig) -> ScriptedEngine:
        opened.append(config.model)
        return ScriptedEngine()

    for folder, words in ((tmp_path / "nowhere", "it has no model files"), (study, "it has no model files")):
        with pytest.raises(UsageError, match=words):
            attribute([run_dir], [], say_nothing, folder, open_engine)
    attribute([run_dir], [], say_nothing, tmp_path / "here", open_engine)
    assert opened == [str(tmp_path / "here")]
    (tmp_path / "here" / "config.json").write_text('{"changed": 1}')
    (run_dir / FILE).unlink()
    with pytest.raises(UsageError, match="its files differ"):
        attribute([run_dir], [], say_nothing, tmp_path / "here", open_engine)


def test_cells_are_published_beside_their_run_and_checked(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run_dir, results = tmp_path / "espl-s0", tmp_path / "results"
    shutil.copytree(study / "espl-s0", run_dir, ignore=shutil.ignore_patterns(FILE))
    attribute([run_dir], [study / "espl-s1"], say_nothing, open_engine=lambda config: ScriptedEngine())
    add = ["results", "add", str(run_dir), str(study / "base-s0"), "--results", str(results), "--quiet"]
    assert invoke(add) == 0
    [cells] = results.glob("*/*.attribution.json")
    assert cells.read_bytes() == (run_dir / FILE).read_bytes()
    [(result, found)] = published(cells.parent, "espl")
    assert result.summary.seed == 0 and found.has(PromptChoice.OTHER_SEED)
    assert invoke(["results", "check", "--results", str(results)]) == 0
    changed = json.loads(cells.read_text())
    changed["cells"] = [cell | {"principles": ["dax made up"]} if cell["words"] == "evolved" else cell for cell in changed["cells"]]
    cells.write_text(json.dumps(changed))
    capsys.readouterr()
    assert invoke(["results", "check", "--results", str(results)]) == 1
    assert "their prompts are not the run's" in capsys.readouterr().out
    (run_dir / FILE).write_text(json.dumps(changed))
    assert invoke(add) == 1
    assert "does not belong to its run" in capsys.readouterr().err
    elsewhere = tmp_path / "elsewhere"
    assert invoke([*add[:-2], str(elsewhere), "--quiet"]) == 1
    assert not elsewhere.exists(), "all or nothing"
    cells.with_name(cells.name.replace(".attribution", ".result")).unlink()
    assert invoke(["results", "check", "--results", str(results)]) == 1
    assert "does not belong to a published run" in capsys.readouterr().out
