"""The paper's comparison: every figure has a source, what nobody ran says so, and gaps and leads are computed from runs."""

import csv
import io
import json
import random
from html.parser import HTMLParser

import pytest
from checked import present
from cli_fixtures import make_study, write_run

from espl_bench.cli.app import invoke
from espl_bench.environment.catalogue import find_environment
from espl_bench.leaderboard import markup, paper
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.stats import difference_interval

PAPER = paper.read_paper(paper.reported_file())


def entries(env="beyondaime", model="a-model"):
    return [GroupEntry(run.row, run.model_copy(update={"env": env, "model": model})) for run in make_study()]


def compared(env="beyondaime"):
    return {each.pair: each for each in paper.compare_with_paper(PAPER, entries(env))}


def test_every_figure_says_where_it_is_from_and_that_it_was_not_reproduced():
    assert PAPER.status == "reported, not reproduced here" and len(PAPER.pairs) == 4
    assert all(figure.source and 0 < figure.value < 100 for pair in PAPER.pairs for figure in pair.figures)
    read = {(pair.name, figure.method) for pair in PAPER.pairs for figure in pair.figures if not figure.stated}
    assert read == {("DAPO100 → AIME25", "evolution_only"), ("HMMT 23/24 → 25", "evolution_only")}


@pytest.mark.parametrize(
    ("pair", "method", "gain"), [(0, "evolution_only", 0.058), (2, "evolution_only", 0.128), (3, "evolution_only", 0.429)]
)
def test_figures_agree_with_the_relative_gains_that_the_paper_states(pair: int, method: str, gain: float):
    chosen = PAPER.pairs[pair]
    ours, theirs = (chosen.figures_of(name)[0].value for name in ("espl", method))
    assert ours / theirs - 1 == pytest.approx(gain, abs=0.002)


def test_rows_and_pairs_are_the_papers_and_unrun_cells_say_so():
    found = compared()
    assert list(found) == [pair.name for pair in PAPER.pairs]
    assert all([row.name for row in each.rows] == [name for name, _ in paper.ROWS] for each in found.values())
    sheet = paper.paper_sheets([found["Agentic search"]])[0]
    assert {row[2] for row in sheet.grids[0].rows} == {"not run"}
    assert [row[1] for row in sheet.grids[0].rows] == ["not stated", "not stated", "34.0", "44.2", "48.6"]
    assert any("not run yet: espl-bench compare" in note for note in sheet.notes)


def test_every_pair_is_an_environment_here():
    assert [find_environment(pair.env).name for pair in PAPER.pairs] == ["aime25", "hmmt25", "beyondaime", "nq-hotpotqa"]
    assert compared("nq-hotpotqa")["Agentic search"].rows[-1].measured is not None


def test_gaps_and_leads_are_those_of_the_runs():
    each = compared()["AIME → BeyondAIME"]
    rows = {row.method: row for row in each.rows}
    runs = {name: [run for run in make_study() if run.method == name] for name in ("espl", "rl_only")}
    score = sum(run.score for run in runs["rl_only"]) / 3
    assert rows["rl_only"].measured == pytest.approx(score)
    assert rows["rl_only"].gap == pytest.approx(score - 0.388)
    low, high = present(rows["rl_only"].gap95)
    assert low < present(rows["rl_only"].gap) < high
    assert rows["rl_only"].reported_lead == pytest.approx(0.451 - 0.388)
    assert rows["rl_only"].lead95 == pytest.approx(difference_interval(*([run.item_scores for run in runs[name]] for name in runs)))
    assert rows["base"].gap is None and rows["base"].measured is not None
    assert any("the gap reflects the models as much as the methods" in note for note in each.notes)


class Counting(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def test_every_format_is_the_same_bytes_whatever_the_order_of_runs():
    def texts(runs):
        found = paper.compare_with_paper(PAPER, runs)
        sheets = paper.paper_sheets(found)
        written = (markup.to_markdown, markup.to_latex, markup.to_html)
        return [*(write(sheets, paper.LEGEND) for write in written), paper.to_csv(found), paper.to_json(found)]

    runs = entries()
    first = texts(runs)
    random.Random(1).shuffle(runs)
    assert texts(runs) == first
    markdown, latex, page, table, record = first
    assert markdown.count("not run") > 15 and r"$\rightarrow$" in latex and r"$\dagger$" in latex
    counting = Counting()
    counting.feed(page)
    assert counting.tags.count("table") == 4
    assert len(list(csv.DictReader(io.StringIO(table)))) == 20
    assert json.loads(record)["pairs"][2]["rows"][4]["reported"] == 0.451


def test_the_command_takes_runs_or_none(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke(["table", "--paper", "--markdown"]) == 0
    assert "reported for DeepSeek-V3.1, not reproduced here" in capsys.readouterr().out
    for entry in entries():
        write_run(tmp_path / entry.summary.run_id, entry.summary)
    assert invoke(["table", str(tmp_path), "--paper"]) == 0
    assert "measured on beyondaime: a-model, avg@4 over 100 items" in capsys.readouterr().out
    assert invoke(["table"]) == 2
    assert "there is no results/ here" in capsys.readouterr().err
