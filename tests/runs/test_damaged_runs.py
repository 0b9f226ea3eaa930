"""A damaged run is one line and is left out; the others are shown. `benchmarks/damaged_runs.py` tries thousands of damages."""

import json
import shutil
import tracemalloc
from pathlib import Path

import pytest
from damage import base, call, one_case

CASES = 24


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base(tmp_path_factory.mktemp("sound"))


def test_any_damage_is_one_line_and_takes_no_other_run_down(sound: Path, tmp_path: Path):
    faults: list[str] = []
    left_out: set[str] = set()
    for seed in range(CASES):
        found, without = one_case(tmp_path / "case", sound, seed)
        faults += found
        left_out |= without
    assert not faults
    assert {"report", "attribute"} <= left_out, "the damage is met"


def test_a_damaged_summary_is_left_out_of_every_view(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copytree(sound.parent, tmp_path / "case")
    study = tmp_path / "case" / "study"
    (study / "victim" / "summary.json").write_text('{"run_id": ')
    for name, options in (("table", ()), ("report", ("--out", tmp_path / "report.html"))):
        assert call(name, study, *options) == 0
        told = capsys.readouterr().err
        assert "left out" in told and "victim" in told, name


def test_every_picture_is_drawn_without_the_damaged_run(sound: Path, tmp_path: Path):
    faults, _ = one_case(tmp_path / "case", sound, 3, kinds=("tree", "prompts"))
    assert not faults


def test_a_hash_of_data_that_is_no_text_is_damage(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = Path(shutil.copytree(sound.parent / "real" / "victim", tmp_path / "victim"))
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["facts"]["data"] = {"identity": {"train": 2**62}}
    (run / "provenance.json").write_text(json.dumps(provenance))
    assert call("verify", run) == 1
    assert "provenance.json is damaged (the identity of train is no text)" in capsys.readouterr().err


def test_a_field_with_half_a_character_in_its_name_is_damage(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = Path(shutil.copytree(sound.parent / "real" / "victim", tmp_path / "victim"))
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "\ud800": config.pop("seed")}))
    for command in (["show", run], ["verify", run], ["results", "add", run, "--results", tmp_path / "results"]):
        assert call(*command) in (1, 2)
        assert "config.json" in capsys.readouterr().err


@pytest.mark.parametrize("log", ["evaluations", "metrics", "timing", "population"])
def test_a_step_far_behind_the_others_is_no_work(log: str, sound: Path, tmp_path: Path):
    """What comes of it is another matter; a list of all steps before it would take more memory than there is."""
    run = Path(shutil.copytree(sound.parent / "real" / "victim", tmp_path / "victim"))
    first, *rest = (run / f"{log}.jsonl").read_text().splitlines()
    (run / f"{log}.jsonl").write_text("\n".join([json.dumps({**json.loads(first), "step": 10**6}), *rest]) + "\n")
    tracemalloc.start()
    for command in (["verify", run], ["show", run], ["table", run, "--match", "rollouts"]):
        call(*command)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * 2**20
