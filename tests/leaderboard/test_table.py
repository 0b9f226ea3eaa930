import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from checked import present
from cli_fixtures import make_study, make_summary, write_run
from rich.console import Console

from espl_bench.errors import RunDirError, UsageError
from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.collect import collect
from espl_bench.leaderboard.layout import LEGEND
from espl_bench.leaderboard.render import to_json, to_markdown, to_screen
from espl_bench.leaderboard.table import GroupEntry, build_tables


def entries_of(summaries):
    return [GroupEntry(summary.method, summary) for summary in summaries]


def only(tables):
    [table] = tables
    return table


def rows_of(table):
    return {row.method: row for row in table.rows}


STUDY = make_study()
TABLE = only(build_tables(entries_of(STUDY)))
BOARD = build_board(entries_of(STUDY))


def test_rows_are_sorted_by_score_and_the_score_is_the_mean_over_seeds():
    scores = [row.score for row in TABLE.rows]
    assert scores == sorted(scores, reverse=True)
    espl = [summary.score for summary in STUDY if summary.method == "espl"]
    assert rows_of(TABLE)["espl"].score == pytest.approx(sum(espl) / 3)
    assert all(row.ci95[0] < row.score < row.ci95[1] for row in TABLE.rows)


def test_table_does_not_depend_on_the_order_of_runs():
    shuffled = list(STUDY)
    random.Random(1).shuffle(shuffled)
    assert only(build_tables(entries_of(shuffled))) == TABLE


def test_adding_a_method_changes_nothing_of_another_row_but_what_is_corrected_for_all_pairs():
    fewer = only(build_tables(entries_of(run for run in STUDY if run.method != "evolution_only")))
    for row in fewer.rows:
        assert row == replace(rows_of(TABLE)[row.method], rank=row.rank, p_corrected=row.p_corrected)
        assert (row.p_corrected or 0.0) <= (rows_of(TABLE)[row.method].p_corrected or 0.0), "fewer comparisons, less to correct for"


def test_difference_is_paired_and_against_base():
    assert TABLE.reference == "base"
    rows = rows_of(TABLE)
    assert rows["base"].difference is None
    espl = present(rows["espl"].difference)
    assert espl.mean == pytest.approx(rows["espl"].score - rows["base"].score)
    assert espl.low < espl.mean < espl.high
    assert espl.p_improvement == 1.0


def test_pairing_sees_through_the_difficulty_of_items():
    hard_and_easy = [0.0, 1.0] * 50
    better = [0.25, 1.0] * 50
    runs = [make_summary("base", seed, hard_and_easy) for seed in (0, 1)] + [make_summary("espl", seed, better) for seed in (0, 1)]
    rows = rows_of(only(build_tables(entries_of(runs))))
    assert rows["espl"].ci95[0] < rows["base"].ci95[1], "the intervals of the scores overlap"
    assert present(rows["espl"].difference).low > 0, "the paired difference does not reach 0"
    assert rows["base"].below_noise is False


def test_only_gaps_below_the_noise_floor_are_marked():
    rows = rows_of(TABLE)
    assert TABLE.best in ("espl", "rl_only")
    other = "rl_only" if TABLE.best == "espl" else "espl"
    assert rows[TABLE.best].below_noise is None
    assert rows[other].below_noise is True
    assert not any(rows[name].below_noise for name in ("base", "reflection_only", "evolution_only"))


def test_reference_may_be_chosen_and_must_exist():
    table = only(build_tables(entries_of(STUDY), "rl_only"))
    assert table.reference == "rl_only"
    assert rows_of(table)["rl_only"].difference is None
    assert present(rows_of(table)["base"].difference).mean < 0
    with pytest.raises(UsageError, match=r"no run of method 'rl' .*base, espl"):
        build_tables(entries_of(STUDY), "rl")


@pytest.mark.parametrize("change", [{"env": "almanac"}, {"model": "other"}, {"env_options": {"world": 3}}])
def test_different_tests_are_never_mixed(change):
    tables = build_tables(entries_of([make_summary("base"), make_summary("espl", **change)]))
    assert len(tables) == 2
    assert [len(table.rows) for table in tables] == [1, 1]


def test_different_numbers_of_items_are_never_mixed():
    assert len(build_tables(entries_of([make_summary("base"), make_summary("espl", scores=[1.0] * 5)]))) == 2


def test_missing_seeds_are_noted_and_left_out_of_the_pairs():
    table = only(build_tables(entries_of(run for run in STUDY if (run.method, run.seed) != ("base", 1))))
    assert rows_of(table)["espl"].paired_seeds == (0, 2)
    assert any(note.startswith("base has no finished run for seed 1") for note in table.notes)


def test_without_a_common_seed_there_is_no_difference():
    table = only(build_tables(entries_of([make_summary("base", 0), make_summary("espl", 1)])))
    row = rows_of(table)["espl"]
    assert row.difference is None and rows_of(table)["base"].below_noise is not True
    assert any("shares no seed with base" in note for note in table.notes)


def test_one_seed_is_noted():
    table = only(build_tables(entries_of([make_summary("base"), make_summary("espl")])))
    assert any(note.startswith("one seed only") for note in table.notes)
    assert not any("seed only" in note for note in TABLE.notes)


def test_unequal_budgets_are_noted_but_a_static_method_has_none():
    assert not any("differ" in note for note in TABLE.notes)
    runs = [make_summary("base"), make_summary("espl"), make_summary("rl_only", steps=30, ledger={"rollouts": 3000})]
    notes = only(build_tables(entries_of(runs))).notes
    assert any(note.startswith("step counts differ") and "espl 40" in note and "rl_only 30" in note for note in notes)
    assert any(note.startswith("training rollouts differ") and "rl_only 3,000" in note for note in notes)


def test_ungraded_samples_are_noted():
    failing = make_summary("espl", outcomes={"correct": 0.5, "wrong": 0.4, "timeout": 0.1})
    notes = only(build_tables(entries_of([failing]))).notes
    assert any("could not be graded" in note and "timeout 10.0 %" in note for note in notes)


def test_wrong_number_of_item_scores_is_one_line():
    with pytest.raises(RunDirError, match="espl-0 has 4 item scores for 9 items"):
        build_tables(entries_of([make_summary("espl", n_items=9)]))


def screen(board, width, curves=False):
    console = Console(width=width, highlight=False, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(to_screen(board, width, curves))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_every_cell_fits_the_screen(width):
    text = screen(BOARD, width, curves=True)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "rulebook · lab · avg@4 over 100 test items · seeds 0, 1, 2" in text
    for row in TABLE.rows:
        assert any(line.startswith(row.method) and f"{row.score * 100:.1f}" in line for line in lines)
    for heading in ("score", "95 % CI", "Δ base", "valid.", "seeds", "rollouts", "generated", "reflect.", "eval.", "wall"):
        assert heading in text
    assert "validation" in text and "noise" in text


def test_costs_stand_apart_from_evaluation():
    cost = rows_of(TABLE)["espl"].cost
    assert (cost.rollouts, cost.generated_tokens, cost.reflection_tokens, cost.eval_tokens) == (6000, 181_234, 12_345, 25_000)
    line = next(line for line in screen(BOARD, 80).splitlines() if line.startswith("espl") and "k" in line)
    assert line.split() == ["espl", "6.00", "k", "181", "k", "12.3", "k", "25.0", "k", "3.2"]


def test_names_are_printed_literally():
    odd = make_summary("[red]odd|name*")
    assert "[red]odd|name*" in screen(build_board(entries_of([odd])), 80)
    assert "\\[red\\]odd\\|name\\*" in to_markdown(build_board(entries_of([odd])))


def test_markdown_rows_have_as_many_cells_as_the_heading():
    lines = to_markdown(BOARD, curves=True).splitlines()
    blocks = [[]]
    for line in lines:
        if line.startswith("|"):
            blocks[-1].append(line.count("|"))
        elif blocks[-1]:
            blocks.append([])
    assert [len(set(block)) for block in blocks if block] == [1, 1]
    assert LEGEND in lines
    assert not TABLE.separated and not any(line.startswith("| **") for line in lines)
    alone = build_board(entries_of(run for run in STUDY if run.method != "rl_only"))
    assert any(line.startswith("| **espl** | **") for line in to_markdown(alone).splitlines())


def test_json_holds_what_the_table_holds():
    record = json.loads(to_json(BOARD))
    [table] = record["tables"]
    assert record["schema"] == "espl-bench/table/2"
    assert [row["method"] for row in table["rows"]] == [row.method for row in TABLE.rows]
    assert table["rows"][0]["score"] == TABLE.rows[0].score
    assert record["statistics"]["draws"] > 0


def test_curve_is_the_mean_over_the_seeds_that_all_have_the_step():
    rows = {(point.split, point.step): point.scores for point in TABLE.curve}
    assert rows["validation", 0]["espl"] == pytest.approx(0.1)
    assert rows["validation", 40]["espl"] == pytest.approx(rows_of(TABLE)["espl"].score)


def test_runs_are_found_one_and_two_levels_below_and_directly(tmp_path: Path):
    write_run(tmp_path / "a" / "espl-s0", make_summary("espl", 0))
    write_run(tmp_path / "base-s0", make_summary("base", 0))
    write_run(tmp_path / "a" / "rl_only-s0", None)
    found = collect([tmp_path])
    assert sorted(entry.label for entry in found.entries) == ["base", "espl"]
    assert [folder.name for folder in found.unfinished] == ["rl_only-s0"]
    assert collect([tmp_path / "base-s0"]).entries == collect([tmp_path / "base-s0" / "summary.json"]).entries


def test_a_run_named_twice_or_copied_counts_once(tmp_path: Path):
    write_run(tmp_path / "espl-s0", make_summary())
    write_run(tmp_path / "copy", make_summary())
    found = collect([tmp_path, tmp_path / "espl-s0", tmp_path / "espl-s0" / "summary.json"])
    assert [entry.label for entry in found.entries] == ["espl"]


def test_two_configurations_of_one_method_get_a_row_each(tmp_path: Path):
    write_run(tmp_path / "full" / "espl-s0", make_summary("espl", 0, run_id="one"))
    write_run(tmp_path / "without" / "espl-s0", make_summary("espl", 0, run_id="two"))
    write_run(tmp_path / "full" / "base-s0", make_summary("base", 0))
    assert sorted(entry.label for entry in collect([tmp_path]).entries) == ["base", "espl (full)", "espl (without)"]


def test_what_cannot_be_told_apart_is_refused():
    twice = [GroupEntry("espl", make_summary(run_id="one")), GroupEntry("espl", make_summary(run_id="two"))]
    with pytest.raises(RunDirError, match="two runs of espl have seed 0"):
        build_tables(twice)


def test_paths_without_runs_are_one_line_errors(tmp_path: Path):
    with pytest.raises(RunDirError, match="holds no run"):
        collect([tmp_path])
    with pytest.raises(RunDirError, match="does not exist"):
        collect([tmp_path / "nowhere"])
    (tmp_path / "summary.json").write_text('{"schema": "espl-bench/summary/9"}')
    with pytest.raises(RunDirError, match=r"summary\.json is not a summary"):
        collect([tmp_path])


def test_editors_that_differ_are_noted():
    own, other = make_summary("espl", 0), make_summary("evolution_only", 0, editor_model="large")
    [table] = build_tables([GroupEntry(run.method, run) for run in (own, other, make_summary("base", 0, ledger={"reflection_calls": 0}))])
    assert "editors differ: large, the run's own model" in table.notes


def test_a_summary_of_another_version_is_one_line_that_says_so(tmp_path: Path):
    old = json.loads(make_summary().to_json()) | {"schema": "espl-bench/summary/1"}
    (tmp_path / "summary.json").write_text(json.dumps(old))
    with pytest.raises(RunDirError) as refusal:
        collect([tmp_path])
    assert str(refusal.value) == (
        f"{tmp_path / 'summary.json'} is not a summary of this version: its schema is 'espl-bench/summary/1', "
        "not 'espl-bench/summary/2'; run it again with this version"
    )
