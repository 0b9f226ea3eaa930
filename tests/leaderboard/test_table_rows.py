"""A row is a configuration: what is one row, what is several, how they are called, and how environments pair them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from checked import present
from cli_fixtures import make_run, make_summary, write_run

from espl_bench.cli.app import invoke
from espl_bench.config.choices import choices_of
from espl_bench.config.resolve import resolve
from espl_bench.errors import RunDirError, UsageError
from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.collect import collect, entries_of
from espl_bench.leaderboard.grouping import GroupEntry, group
from espl_bench.leaderboard.overview import Overview
from espl_bench.runs.summary import Summary

RESULTS = Path(__file__).parents[2] / "results"
OLD_RUN = Path(__file__).parents[1] / "support" / "old_run"


def made(method: str = "espl", seed: int = 0, env: str = "rulebook", label: str | None = None, **options: Any) -> Summary:
    """A run with the choices of these options."""
    fields = {name: options.pop(name) for name in ("k", "scores", "control", "allowed_changes", "model") if name in options}
    config = resolve(method, env, {"engine": "hf", "label": label, **options})
    steps = config.iterations
    told = "-".join(f"{name}{value}" for name, value in options.items())
    return make_summary(
        method,
        seed,
        **{"env": env, "label": label, "steps": steps, "choices": choices_of(config), "run_id": f"{env}-{told}-{seed}", **fields},
    )


def labels(*runs: Summary) -> list[str]:
    return [entry.label for entry in entries_of(runs)]


def overview_of(*runs: Summary) -> Overview:
    return present(build_board(entries_of(runs)).overview)


def columns(overview: Overview) -> dict[str, tuple[bool, ...]]:
    """Line → whether it has a score, for each environment."""
    return {row.method: tuple(score is not None for score in row.scores_E) for row in overview.rows}


# Labels


def test_runs_that_differ_in_an_option_are_rows_of_their_own_named_by_it():
    assert labels(made(seed=0, lr=1e-3), made(seed=1, lr=1e-5)) == ["espl · lr 0.001", "espl · lr 1e-05"]
    assert labels(made(steps=60), made(steps=200), made(steps=200, seed=1)) == ["espl · steps 60", "espl · steps 200", "espl · steps 200"]


def test_seeds_of_one_configuration_are_one_plain_row():
    assert labels(made(seed=0), made(seed=1), made("base"), made("base", 1)) == ["espl", "espl", "base", "base"]


def test_what_changes_no_result_makes_no_row():
    assert labels(made(seed=0, checkpoint_every=3, stuck_after=0.0), made(seed=1, eval_every=5)) == ["espl", "espl"]
    assert labels(made("base", 0, lr=1e-3), made("base", 1, lr=1e-5)) == ["base", "base"]


def test_a_label_names_everything_that_differs_and_nothing_else():
    found = labels(made(lr=1e-3, steps=60), made(lr=1e-5, steps=60), made(lr=1e-3, steps=200))
    assert found == ["espl · steps 60 · lr 0.001", "espl · steps 60 · lr 1e-05", "espl · steps 200 · lr 0.001"]


def test_a_clash_in_one_environment_renames_nothing_in_another():
    runs = [made(steps=60), made(steps=200), made(env="almanac"), made(env="almanac", seed=1)]
    assert labels(*runs) == ["espl · steps 60", "espl · steps 200", "espl", "espl"]


def test_a_variant_has_its_name_and_controls_stay_apart():
    runs = [made(), made(label="warm", lr=1e-5), made(control="random-reward"), made(label="warm", lr=1e-4, seed=1)]
    assert labels(*runs) == ["espl", "espl · warm · lr 1e-05", "espl (random-reward)", "espl · warm · lr 0.0001"]
    [table] = build_board(entries_of(runs[:2])).tables
    assert any(note == "espl · warm differs from espl in lr 0.001 -> 1e-05" for note in table.notes)


def test_many_differences_are_a_short_label_and_a_note():
    other = {"lr": 1e-5, "steps": 200, "temperature": 0.7, "group_size": 3, "max_edits": 1}
    runs = [made(), made(seed=1, **other)]
    assert [len(label.split(" · ")) for label in labels(*runs)] == [2, 2]
    [table] = build_board(entries_of(runs)).tables
    assert any("differs from" in note and all(name in note for name in other) for note in table.notes)


def test_runs_of_one_label_must_be_of_one_configuration():
    pooled = [GroupEntry("espl", made(seed=0, lr=1e-3)), GroupEntry("espl", made(seed=1, lr=1e-5))]
    with pytest.raises(RunDirError, match=r"runs of espl are not of one configuration: lr 0\.001, 1e-05; label them with entries_of"):
        group(pooled)


# Where the choices come from


def test_summaries_of_earlier_versions_take_their_choices_from_the_configuration_beside_them(tmp_path: Path):
    for seed, lr in ((0, 1e-3), (1, 1e-5)):
        folder = tmp_path / f"espl-s{seed}"
        shutil.copytree(OLD_RUN, folder)
        for name in ("config.json", "summary.json"):
            record = json.loads((folder / name).read_text())
            record["seed"] = seed
            if name == "config.json":
                record["lr"] = lr
            (folder / name).write_text(json.dumps(record))
    assert sorted(entry.label for entry in collect([tmp_path]).entries) == ["espl · lr 0.001", "espl · lr 1e-05"]


def test_what_is_unknown_is_said_and_not_guessed(tmp_path: Path):
    for seed in (0, 1):
        write_run(tmp_path / f"espl-s{seed}", make_summary("espl", seed, steps=60))
    write_run(tmp_path / "base-s0", made("base"))
    [table] = build_board(collect([tmp_path]).entries).tables
    assert {row.method for row in table.rows} == {"espl", "base"}
    assert any(note.startswith("configuration unknown") and note.endswith(": espl") for note in table.notes)
    write_run(tmp_path / "espl-s2", made("espl", 2))
    assert {entry.label for entry in collect([tmp_path]).entries} == {"espl", "base", "espl · other choices unknown"}


def test_bare_summaries_that_state_different_steps_are_told_apart():
    assert labels(make_summary("espl", 0, steps=40), make_summary("espl", 1, steps=80)) == ["espl · steps 40", "espl · steps 80"]


def test_published_results_state_their_configuration():
    found = {entry.label for entry in collect([RESULTS / "rulebook", RESULTS / "rulebook-200"]).entries}
    assert {"espl · steps 60", "espl · steps 200", "reflection_only", "base"} <= found and "espl" not in found


# Pairing across environments


def study(env: str, *methods: str, seeds: int = 2, **options: Any) -> list[Summary]:
    return [made(method, seed, env, **options) for method in methods for seed in range(seeds)]


def test_defaults_of_environments_pair_and_a_clash_costs_nobody_the_iqm():
    runs = [*study("rulebook", "base", "espl"), *study("rulebook", "espl", steps=200), *study("almanac", "base", "espl")]
    overview = overview_of(*runs)
    assert columns(overview) == {"espl · steps 60": (True, True), "base": (True, True), "espl · steps 200": (False, True)}
    assert all((row.iqm is not None) == (row.method != "espl · steps 200") for row in overview.rows)


def test_options_that_differ_only_as_environments_do_split_nothing():
    runs = [*study("rulebook", "base", "espl", steps=30, max_tokens=50), *study("almanac", "base", "espl", steps=20, max_tokens=20)]
    assert columns(overview_of(*runs)) == {"espl": (True, True), "base": (True, True)}


def test_like_pairs_with_like_in_both_environments():
    runs = [run for env in ("almanac", "rulebook") for lr in (1e-3, 1e-5) for run in study(env, "espl", lr=lr)]
    runs += [*study("almanac", "base"), *study("rulebook", "base")]
    assert columns(overview_of(*runs)) == {"espl · lr 0.001": (True, True), "espl · lr 1e-05": (True, True), "base": (True, True)}


def test_the_only_configuration_of_an_environment_pairs_with_the_default_of_the_other():
    runs = [*study("rulebook", "espl"), *study("rulebook", "espl", steps=200), *study("almanac", "espl", steps=33)]
    overview = overview_of(*runs)
    assert columns(overview) == {"espl · steps 33/60": (True, True), "espl · steps 200": (False, True)}


def test_the_papers_preset_stands_in_for_a_default_that_was_not_run():
    runs = [*study("rulebook", "espl", steps=100), *study("rulebook", "espl", steps=200), *study("almanac", "espl", steps=33)]
    assert columns(overview_of(*runs)) == {"espl · steps 33/100": (True, True), "espl · steps 200": (False, True)}


def test_what_cannot_be_paired_is_named_and_has_no_iqm():
    runs = [*study("rulebook", "espl", steps=101), *study("rulebook", "espl", steps=200), *study("almanac", "espl", steps=33)]
    overview = overview_of(*runs)
    assert all(row.iqm is None for row in overview.rows)
    assert any("espl has no IQM: it is unclear which of its configurations are alike" in note for note in overview.notes)


def test_equal_values_pair_where_neither_is_a_default():
    runs = [*study("rulebook", "espl", steps=100), *study("rulebook", "espl", steps=200), *study("almanac", "espl", steps=200)]
    assert columns(overview_of(*runs)) == {"espl · steps 200": (True, True), "espl · steps 100": (False, True)}


def test_studies_of_different_length_are_said_in_one_line():
    runs = [*study("rulebook", "base", "espl", seeds=3), *study("almanac", "base", "espl", steps=20)]
    notes = overview_of(*runs).notes
    assert [note for note in notes if "numbers of steps (almanac 20; rulebook 60)" in note]
    assert [note for note in notes if "numbers of seeds (almanac 2; rulebook 3)" in note]


# Samples


def test_numbers_of_samples_make_neither_tables_nor_environments():
    runs = [made("base", k=2), made("base", 1, k=2), made(k=4), made(seed=1, k=4)]
    board = build_board(entries_of(runs))
    [table] = board.tables
    assert table.k == 2 and board.overview is None
    assert {row.method: row.score for row in table.rows}["espl"] == pytest.approx((1.0 + 0.0 + 1.0 + 1.0) / 4), "the first two of four"
    assert any("of each item the first 2 count" in note and "espl 4" in note for note in table.notes)


def test_one_seed_with_two_numbers_of_samples_is_two_rows():
    assert labels(made(k=2), made(k=4), made("base", k=4)) == ["espl · eval_samples 2", "espl · eval_samples 4", "base"]


# Names


def test_a_name_alone_means_the_default_configuration():
    runs = [*study("rulebook", "base", "espl"), *study("rulebook", "espl", steps=200)]
    [table] = build_board(entries_of(runs), reference="espl").tables
    assert table.reference == "espl · steps 60"
    [table] = build_board(entries_of(runs), reference="espl steps 200").tables
    assert table.reference == "espl · steps 200"
    odd = [*study("rulebook", "espl", steps=3), *study("rulebook", "espl", steps=4)]
    with pytest.raises(UsageError, match="'espl' has several configurations on rulebook; name one of: espl · steps 3, espl · steps 4"):
        build_board(entries_of(odd), reference="espl")


def test_defaults_are_meant_in_what_differs_only():
    runs = [*study("rulebook", "espl", steps=2, lr=1e-3), *study("rulebook", "espl", steps=2, lr=1e-5), *study("almanac", "espl", steps=2)]
    assert columns(overview_of(*runs)) == {"espl · lr 0.001": (True, True), "espl · lr 1e-05": (False, True)}
    [table] = build_board(entries_of(runs[:4]), reference="espl").tables
    assert table.reference == "espl · lr 0.001"


def test_a_label_reaches_folder_and_command_of_a_comparison(tmp_path: Path):
    from espl_bench.cli.commands.compare import make_plan
    from espl_bench.cli.options import Chosen

    [job] = make_plan("espl", "rulebook", [0], Chosen({"label": "warm up"}, (), ()), tmp_path).jobs
    assert job.folder.name == "espl-warm-up-s0" and "--label=warm up" in job.command


def test_base_of_several_configurations_is_still_what_is_compared_with():
    runs = [*study("rulebook", "base", temperature=0.5), *study("rulebook", "base"), *study("rulebook", "espl")]
    [table] = build_board(entries_of(runs)).tables
    assert table.reference == "base · temperature 1"


def test_the_first_command_of_the_documentation_works(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(RESULTS.parent)
    assert "espl-bench plan --env rulebook --detect 5pp --methods espl,rl_only" in Path("docs/comparing.md").read_text()
    assert invoke(["plan", "--env", "rulebook", "--detect", "5pp", "--methods", "espl,rl_only", "--json"]) == 0
    plans = json.loads(capsys.readouterr().out)["plans"]
    assert [(each["a"], each["b"]) for each in plans] == [
        ("espl · steps 60", "rl_only · steps 60"),
        ("espl · steps 200", "rl_only · steps 200"),
    ]
    assert invoke(["plan", "--env", "rulebook", "--methods", "espl steps 60,rl_only", "--json"]) == 0


def test_a_clone_ranks_espl_where_it_belongs(capsys: pytest.CaptureFixture[str]):
    assert invoke(["table", str(RESULTS), "--json"]) == 0
    overview = json.loads(capsys.readouterr().out)["overview"]
    ranked = [row["method"] for row in overview["rows"] if row["iqm"] is not None]
    assert ranked[0] == "espl · steps 60/6" and {"reflection_only", "base"} < set(ranked) and len(ranked) == 5


# Notes


def test_changes_that_were_allowed_stand_in_the_notes():
    [table] = build_board(entries_of([made(allowed_changes=("lr 0.001 -> 1e-05",)), made("base")])).tables
    assert "espl, seed 0: changed in the middle of the run: lr 0.001 -> 1e-05" in table.notes


def test_two_seeds_near_an_end_are_said_in_one_line():
    runs = [made(seed=seed, scores=[0.0] * 98 + [0.25, seed * 1.0]) for seed in (0, 1)]
    runs += [made("base", seed, scores=[0.5] * 100) for seed in (0, 1)]
    [table] = build_board(entries_of(runs)).tables
    [note] = [note for note in table.notes if note.startswith("two seeds near 0 or 100 %")]
    assert "espl 0.0 … " in note and "base" not in note


def test_numbers_of_seeds_that_differ_are_said_in_one_line():
    [table] = build_board(entries_of([*study("rulebook", "base", seeds=3), *study("rulebook", "espl")])).tables
    assert any(note.startswith("numbers of seeds differ") and "base 3" in note and "espl 2" in note for note in table.notes)


# Runs that are not finished


def test_unfinished_runs_are_labelled_with_the_finished_ones(tmp_path: Path):
    from espl_bench.analysis.study import gather

    make_run(tmp_path / "slow", lr=1e-5)
    make_run(tmp_path / "quick", lr=1e-3, seed=1)
    assert [record.label for record in gather([tmp_path]).records] == ["espl · lr 0.001", "espl · lr 1e-05"]
