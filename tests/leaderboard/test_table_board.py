import csv
import io
import json
import random
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pytest
from checked import present
from cli_fixtures import make_study, make_summary, spent, write_run

from espl_bench.cli.app import invoke
from espl_bench.errors import RunDirError
from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.leaderboard.match import MatchAxis
from espl_bench.leaderboard.render import Format, to_text
from espl_bench.runs.summary import CurvePoint

NASTY = "a|b & <script>alert(1)</script> _50%_ [x](javascript:y)"
TEXTS = [form for form in Format if form is not Format.SCREEN]


def entries(summaries):
    return [GroupEntry(run.method, run) for run in summaries]


def two_environments():
    return [*make_study(), *(run.model_copy(update={"env": "almanac"}) for run in make_study(items=40))]


def curve(points: Iterable[tuple[int, float]], split: Literal["validation", "test"] = "validation") -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(step=step, split=split, score=score, spent=spent(step)) for step, score in points)


@pytest.mark.parametrize("form", TEXTS)
def test_every_format_is_the_same_bytes_whatever_the_order_of_runs(form):
    runs = two_environments()
    first = to_text(build_board(entries(runs), budget=MatchAxis.ROLLOUTS), form, curves=True)
    random.Random(3).shuffle(runs)
    assert to_text(build_board(entries(runs), budget=MatchAxis.ROLLOUTS), form, curves=True) == first


def test_latex_has_as_many_cells_in_each_row_and_escapes_its_signs():
    board = build_board(entries([*make_study(), make_summary(NASTY, 0, [0.5] * 100)]))
    text = to_text(board, Format.LATEX, curves=False)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in rows}) == 1
    assert r"a\textbar{}b \& \textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{} \_50\%\_ [x](javascript:y)" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\bottomrule") == 1
    assert not any(sign in line for line in rows for sign in "≈…–Δ<>|")


class Page(HTMLParser):
    """Counts elements and keeps the text."""

    def __init__(self):
        super().__init__()
        self.tags, self.words = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)

    def handle_data(self, data):
        self.words.append(data)


def test_html_shows_names_verbatim_and_loads_nothing():
    text = to_text(build_board(entries([make_summary(NASTY), make_summary()])), Format.HTML, curves=True)
    page = Page()
    page.feed(text)
    assert NASTY in page.words
    assert "script" not in page.tags and "a" not in page.tags and "default-src 'none'" in text
    assert page.tags.count("table") == 2 and "caption" in page.tags


def test_csv_holds_unrounded_numbers():
    board = build_board(entries(make_study()), budget=MatchAxis.ROLLOUTS)
    rows = list(csv.DictReader(io.StringIO(to_text(board, Format.CSV, curves=False))))
    [table] = board.tables
    assert [row["method"] for row in rows] == [row.method for row in table.rows]
    assert float(rows[0]["ci_low"]) == table.rows[0].ci95[0]
    assert [row["difference"] for row in rows if row["method"] == "base"] == [""]
    assert {float(row["matched_amount"]) for row in rows} == {6000.0}


def test_environments_are_columns_of_an_overview():
    board = build_board(entries(two_environments()))
    overview = present(board.overview)
    assert overview.environments == ("almanac", "rulebook")
    rows = {row.method: row for row in overview.rows}
    for place, table in enumerate(board.tables):
        assert all(rows[row.method].scores_E[place] == row.score for row in table.rows)
    low, high = present(rows["espl"].iqm95)
    assert low < present(rows["espl"].iqm) < high
    assert present(rows["espl"].difference)[0] > 0 and rows["espl"].p_improvement == 1.0
    assert rows["base"].rank == (5, 5) and rows["espl"].rank == (1, 2)
    assert json.loads(to_text(board, Format.JSON, curves=False))["overview"]["environments"] == ["almanac", "rulebook"]
    assert build_board(entries(make_study())).overview is None


def test_a_method_that_lacks_an_environment_has_no_iqm_and_is_named():
    runs = [run for run in two_environments() if (run.env, run.method) != ("almanac", "rl_only")]
    overview = present(build_board(entries(runs)).overview)
    row = next(row for row in overview.rows if row.method == "rl_only")
    assert (row.scores_E[0], row.iqm, row.difference, row.rank) == (None, None, None, None)
    assert overview.rows[-1] is row and "rl_only" in overview.notes[0]


def test_an_environment_without_the_reference_takes_no_iqm_from_the_others():
    world = [make_summary(method=method, seed=seed, env="elsewhere") for method in ("espl", "rl_only") for seed in range(2)]
    whole = present(build_board(entries(two_environments())).overview)
    overview = present(build_board(entries([*two_environments(), *world])).overview)
    assert (overview.environments, overview.rows) == (whole.environments, whole.rows)
    assert any("base was not run there: elsewhere" in note for note in overview.notes)
    chosen = present(build_board(entries([*two_environments(), *world]), reference="espl").overview)
    assert "elsewhere" in chosen.environments and chosen.reference == "espl"


def test_only_a_separated_best_is_bold_and_gaps_within_noise_are_marked():
    def lines(second):
        runs = [make_summary("one", seed, [0.75] * 50 + [0.25] * 50) for seed in range(3)]
        runs += [make_summary("two", seed, second) for seed in range(3)]
        return to_text(build_board(entries(runs)), Format.MARKDOWN, curves=False)

    assert "| **one** | **50.0** |" in lines([0.25] * 100) and "≈" not in lines([0.25] * 100).split("Scores are")[0]
    assert "**one**" not in lines([0.75] * 49 + [0.25] * 51) and "| two | 49.5 ≈ |" in lines([0.75] * 49 + [0.25] * 51)


def test_scores_at_equal_budget_are_read_between_evaluations():
    quick = make_summary("espl", curve=curve([(0, 0.1), (10, 0.5), (20, 0.7)]), steps=20)
    slow = make_summary("rl_only", curve=curve([(0, 0.1), (15, 0.4)]), steps=15)
    still = make_summary("base", curve=curve([(0, 0.1)]), steps=0)
    for budget, amount in (
        (MatchAxis.ROLLOUTS, 2250),
        (MatchAxis.GENERATED_TOKENS, 72_000),
        (MatchAxis.TRAIN_TOKENS, 180_000),
        (MatchAxis.SECONDS, 67.5),
    ):
        [matched] = build_board(entries([quick, slow, still]), budget=budget).matched
        assert (matched.amount, matched.split) == (amount, "validation")
        assert {row.method: row.score for row in matched.rows} == pytest.approx({"espl": 0.6, "rl_only": 0.4, "base": 0.1})
        assert matched.rows[0].difference == pytest.approx(0.5) and matched.rows[0].ci95 is None


def test_generated_tokens_hold_what_the_editor_wrote():
    assert MatchAxis.GENERATED_TOKENS.of(spent(1)) == spent(1).generated_tokens + spent(1).reflection_tokens


def test_the_test_curve_is_read_if_every_run_has_one():
    tested = curve([(0, 0.2), (40, 0.6)], "test")
    runs = [make_summary(method, curve=curve([(0, 0.1), (40, 0.9)]) + tested) for method in ("espl", "rl_only")]
    [matched] = build_board(entries(runs), budget=MatchAxis.ROLLOUTS).matched
    assert matched.split == "test" and matched.rows[0].score == pytest.approx(0.6)


def test_what_cannot_be_matched_is_one_line():
    with pytest.raises(RunDirError, match="no run on rulebook spent any rollouts"):
        build_board(entries([make_summary("base")]), budget=MatchAxis.ROLLOUTS)
    with pytest.raises(RunDirError, match="has no validation scores from training to match budgets with"):
        build_board(entries([make_summary("espl", curve=())]), budget=MatchAxis.ROLLOUTS)


def test_a_run_without_a_curve_is_left_out_of_the_match_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    full = curve([(0, 0.1), (10, 0.5)])
    runs = [make_summary("espl", 0, curve=full), make_summary("espl", 1, curve=()), make_summary("rl_only", 0, curve=())]
    [matched] = build_board(entries(runs), budget=MatchAxis.ROLLOUTS).matched
    assert [(row.method, row.seeds) for row in matched.rows] == [("espl", (0,))] and matched.left_out == ("espl-1", "rl_only-0")
    for run in runs:
        write_run(tmp_path / run.run_id, run)
    assert invoke(["table", str(tmp_path), "--match", "rollouts"]) == 0
    out, err = capsys.readouterr()
    assert f"! left out of the scores at equal rollouts: {tmp_path / 'espl-1'} has no validation scores from training" in err
    assert "left out, without validation scores from training: run rl_only-0" in out


def test_runs_on_other_test_items_are_refused():
    runs = [make_summary("base", data_identity={"test": "a" * 64}), make_summary("espl", data_identity={"test": "b" * 64})]
    with pytest.raises(RunDirError, match="have different test items and cannot be compared: aaaaaaaaaaaa base; bbbbbbbbbbbb espl"):
        build_board(entries(runs))


@pytest.mark.parametrize("form", TEXTS)
def test_the_command_prints_every_format(form, tmp_path, capsys):
    for run in make_study():
        write_run(tmp_path / f"{run.method}-s{run.seed}", run)
    assert invoke(["table", str(tmp_path), "--format", form, "--match", "seconds"]) == 0
    assert capsys.readouterr().out == to_text(build_board(entries(make_study()), budget=MatchAxis.SECONDS), form, curves=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--format", "latx"], "unknown format 'latx'; did you mean 'latex'?"), (["--match", "tokens"], "unknown budget 'tokens'")],
)
def test_an_unknown_choice_is_one_line(options, message, tmp_path, capsys):
    assert invoke(["table", str(tmp_path), *options]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
