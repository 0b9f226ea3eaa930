"""Pictures: every kind is drawn from runs, the same each time, and names are no formulas."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from cli_fixtures import make_study, write_run
from report_fixtures import make_run, summary_of

from espl_bench.analysis.study import gather
from espl_bench.cli.app import invoke
from espl_bench.leaderboard.grouping import group
from espl_bench.plots.kinds import KINDS
from espl_bench.plots.ratings import examined
from espl_bench.plots.style import PALETTE, styles

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in (0, 1):
        make_run(tmp_path / "study" / f"espl-s{seed}", seed=seed)
    write_run(tmp_path / "study" / "base-s0", summary_of("base", steps=0))
    return tmp_path / "study"


def words_of(path: Path) -> str:
    return " ".join(ET.parse(path).getroot().itertext())


def test_every_kind_is_drawn_as_png_and_svg(folder, tmp_path, capsys):
    assert invoke(["plot", str(folder), "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    stems = {"curves-validation-iterations", "bars", "tree-espl-s0", "tree-espl-s1", "ratings", "prompts", "outcomes", "mismatch"}
    assert names == {f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")}
    assert all(str(tmp_path / "out" / name) in told.out for name in names)
    for stem in stems:
        data = (tmp_path / "out" / f"{stem}.png").read_bytes()
        assert data.startswith(PNG) and len(data) > 5_000
        assert len(words_of(tmp_path / "out" / f"{stem}.svg")) > 20


def test_pictures_say_what_they_show(folder, tmp_path):
    assert invoke(["plot", str(folder), "-o", str(tmp_path), "--x", "rollouts", "--split", "test", "--kinds", "curves,bars,tree"]) == 0
    curves = words_of(tmp_path / "curves-test-rollouts.svg")
    assert all(word in curves for word in ("espl", "base", "training rollouts", "test score, %", "rulebook · lab"))
    assert "50.0" in words_of(tmp_path / "bars.svg")
    assert all(word in words_of(tmp_path / "tree-espl-s0.svg") for word in ("3 prompts", "mutation", "crossover", "rating μ"))


def test_the_same_runs_give_the_same_svg(folder, tmp_path):
    for out in ("a", "b"):
        assert invoke(["plot", str(folder), "-o", str(tmp_path / out), "--kinds", "bars,tree,ratings"]) == 0
    for path in sorted((tmp_path / "a").glob("*.svg")):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_what_lacks_data_is_said(tmp_path, capsys):
    write_run(tmp_path / "study" / "espl-s0", summary_of())
    assert invoke(["plot", str(tmp_path / "study"), "-o", str(tmp_path / "out"), "--json"]) == 0
    told = capsys.readouterr()
    assert '"mismatch": "run directories whose weights learn"' in told.out
    assert "no picture of tree" in told.err
    assert invoke(["plot", str(tmp_path / "study"), "-o", str(tmp_path / "out"), "--kinds", "tree"]) == 2
    assert "nothing to draw" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--kinds", "curve"], "did you mean 'curves'"), (["--x", "steps"], "unknown axis 'steps'"), (["--split", "train"], "unknown split")],
)
def test_mistakes_are_one_line(folder, arguments, message, capsys):
    assert invoke(["plot", str(folder), *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_without_matplotlib_the_remedy_is_named(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert invoke(["plot", str(folder), "-o", str(tmp_path)]) == 2
    assert "pip install 'espl-bench[report]'" in capsys.readouterr().err


def test_names_are_no_formulas_and_no_escapes(tmp_path):
    name = r"$\frac{1}{0}$ & <b> \x1b[31m"
    make_run(tmp_path / "run", finished=False)
    (tmp_path / "run" / "summary.json").write_text(summary_of(model=name).to_json())
    assert invoke(["plot", str(tmp_path / "run"), "-o", str(tmp_path / "out"), "--kinds", "bars,curves"]) == 0
    assert name in words_of(tmp_path / "out" / "bars.svg")


def test_looks_do_not_change_when_a_method_joins():
    few, many = styles(["base", "espl"], "base"), styles(["base", "espl", "rl_only", "zero"], "base")
    assert few["espl"] == many["espl"] and few["base"] == many["base"]
    assert len({style.colour for style in many.values()}) == 4
    assert len({style.colour for style in styles([f"m{index}" for index in range(7)], "m0").values()}) == len(PALETTE) + 1


def test_ratings_are_set_against_the_score_of_the_same_time(folder):
    record = gather([folder]).records[0]
    assert [(each.mu, each.score, each.split) for each in examined(record)] == [(25.0, 0.5, "validation"), (25.0, 0.5, "test")]


def test_every_kind_says_what_it_is():
    from typer.testing import CliRunner

    from espl_bench.cli.app import app

    told = CliRunner().invoke(app, ["plot", "--help"], env={"COLUMNS": "200"}).output
    assert all(name in told for name in KINDS)


def test_curves_of_a_study_have_a_band_for_every_method(tmp_path):
    from espl_bench.leaderboard.grouping import GroupEntry
    from espl_bench.plots.curves import draw_curves
    from espl_bench.plots.style import drawing

    [test] = group(GroupEntry(each.method, each) for each in make_study(items=10))
    from espl_bench.leaderboard.learning_curves import Axis

    with drawing():
        figure = draw_curves((test,), Axis.ITERATIONS, "validation")
        assert figure is not None
        [axes] = figure.axes
        assert len(axes.collections) == 4, "a band for each method that learns"
        assert draw_curves((test,), Axis.ITERATIONS, "test") is None
