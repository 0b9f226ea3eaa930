"""`espl-bench stats`: scores from tables, compared as other packages compare them, in every format."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import CommandLine
from numpy.typing import NDArray
from rliable import metrics as rliable_metrics
from scipy import stats as scipy_stats

from espl_bench.leaderboard.render import Format
from espl_bench.scores.design import ItemNoise
from espl_bench.seeding import rng_for
from espl_bench.stats import difference_interval

Rows = list[dict[str, Any]]


def drawn(levels: Mapping[str, float], runs: int = 1, items: int = 30, samples: int = 1) -> dict[str, NDArray[np.float64]]:
    """0/1 scores of items that differ, by method."""
    rng = rng_for(3, "scores", runs, items)
    hard = rng.normal(size=items) * 0.2
    return {
        name: (rng.random((runs, items, samples)) < np.clip(level + hard[None, :, None], 0.02, 0.98)).astype(float)
        for name, level in levels.items()
    }


def rows(scores: Mapping[str, NDArray[np.float64]]) -> Rows:
    return [
        {"item": f"q{item}", "method": name, "seed": run, "sample": sample, "score": float(array[run, item, sample])}
        for name, array in scores.items()
        for run in range(array.shape[0])
        for item in range(array.shape[1])
        for sample in range(array.shape[2])
    ]


def write_csv(path: Path, content: Iterable[Mapping[str, Any]]) -> Path:
    listed = list(content)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)
    return path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def tables(cli: CommandLine, *arguments: str | Path) -> list[dict[str, Any]]:
    return json.loads(cli.succeeds("stats", *arguments, "--json"))["tables"]


def by_method(table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in table["rows"]}


def test_one_run_each_is_the_paired_t_test_and_the_permutation_test_of_scipy(cli: CommandLine, tmp_path: Path):
    scores = drawn({"base": 0.4, "tuned": 0.6}, items=11)
    [table] = tables(cli, write_csv(tmp_path / "scores.csv", rows(scores)))
    tuned, base = (scores[name][0, :, 0] for name in ("tuned", "base"))
    row = by_method(table)["tuned"]
    expected = scipy_stats.ttest_rel(tuned, base)
    low, high = expected.confidence_interval(0.95)
    assert (row["difference"]["low"], row["difference"]["high"]) == pytest.approx((low, high))
    assert row["p_corrected"] == pytest.approx(expected.pvalue), "one pair is corrected for one"
    exact = scipy_stats.permutation_test((tuned, base), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf)  # pyright: ignore[reportArgumentType]  # as its documentation says: all
    assert row["difference"]["p_permutation"] == pytest.approx(exact.pvalue)
    assert not table["over_runs"] and "one run of each method" in " ".join(table["notes"])


def test_with_several_runs_the_table_is_that_of_our_own_runs(cli: CommandLine, tmp_path: Path):
    scores = drawn({"base": 0.35, "a": 0.5, "b": 0.55}, runs=4, samples=3)
    [table] = tables(cli, write_csv(tmp_path / "scores.csv", rows(scores)))
    cells = {name: array.mean(axis=2) for name, array in scores.items()}
    for name in ("a", "b"):
        row = by_method(table)[name]
        assert (row["difference"]["low"], row["difference"]["high"]) == pytest.approx(difference_interval(cells[name], cells["base"]))
        expected = rliable_metrics.probability_of_improvement(*(cells[each].mean(axis=1)[:, None] for each in (name, "base")))
        assert row["difference"]["p_improvement"] == pytest.approx(expected)
        assert row["score"] == pytest.approx(scores[name].mean()) and row["runs"] == ["0", "1", "2", "3"]
    assert table["over_runs"] and table["samples"] == 3 and not table["notes"]


def test_equal_methods_keep_every_rank_and_a_clear_winner_has_the_first(cli: CommandLine, tmp_path: Path):
    equal = drawn({"a": 0.5, "b": 0.5, "c": 0.5}, runs=3)
    [table] = tables(cli, write_csv(tmp_path / "equal.csv", rows(equal)))
    assert {tuple(row["rank"]) for row in table["rows"]} == {(1, 3)} and not table["separated"]
    clear = {"a": np.ones((3, 30, 1)), "b": drawn({"b": 0.3}, runs=3)["b"]}
    [table] = tables(cli, write_csv(tmp_path / "clear.csv", rows(clear)))
    assert table["best"] == "a" and table["separated"] and by_method(table)["a"]["rank"] == [1, 1]


@pytest.mark.parametrize("kind", ["jsonl", "json", "tsv", "parquet"])
def test_every_kind_of_table_is_read_alike(kind: str, cli: CommandLine, tmp_path: Path):
    content = rows(drawn({"base": 0.4, "tuned": 0.6}, runs=2))
    expected = tables(cli, write_csv(tmp_path / "scores.csv", content))
    path = tmp_path / f"scores.{kind}"
    match kind:
        case "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in content))
        case "json":
            path.write_text(json.dumps(content))
        case "tsv":
            path.write_text("\n".join("\t".join(map(str, line)) for line in [list(content[0]), *(list(row.values()) for row in content)]))
        case _:
            pq.write_table(pa.Table.from_pylist(content), path)
    assert tables(cli, path) == expected


@pytest.mark.parametrize("form", list(Format))
def test_every_format_names_the_methods_and_the_warning(form: Format, cli: CommandLine, tmp_path: Path):
    path = write_csv(tmp_path / "scores.csv", rows(drawn({"base": 0.4, "tuned_2": 0.6})))
    text = cli.succeeds("stats", path, f"--format={form}")
    assert "tuned" in text and "base" in text
    if form is Format.CSV:
        [first, *_] = csv.DictReader(io.StringIO(text))
        assert first["method"] == "tuned_2" and float(first["score"]) == by_method(tables(cli, path)[0])["tuned_2"]["score"]
    else:
        assert "over items alone" in " ".join(text.split())


def test_scores_that_are_no_shares_are_not_written_in_percent(cli: CommandLine, tmp_path: Path):
    content = [{"item": item, "model": name, "reward": 100 * item + shift} for name, shift in (("a", 0), ("b", 7)) for item in range(5)]
    text = cli.succeeds("stats", write_csv(tmp_path / "scores.csv", content))
    assert "in the unit of the files" in text and "+7" in text and "20700" not in text


def test_files_are_named_rows_and_runs(cli: CommandLine, tmp_path: Path):
    scores = drawn({"a": 0.4, "b": 0.6}, runs=2)
    named: list[str] = []
    for name, array in scores.items():
        for run in range(2):
            content = [{"id": item, "score": float(array[run, item, 0])} for item in range(30)]
            named.append(f"{name}@{run}={write_csv(tmp_path / f'{name}{run}.csv', content)}")
    [table] = tables(cli, *named)
    expected = tables(cli, write_csv(tmp_path / "all.csv", rows(scores)))[0]
    assert table["rows"] == expected["rows"]
    unnamed = [text.replace("@0", "").replace("@1", "") for text in named]
    [table] = tables(cli, *unnamed)
    assert [row["score"] for row in table["rows"]] == [row["score"] for row in expected["rows"]]
    assert "2 files without seeds of their own are its runs, paired by their order" in " ".join(table["notes"])


def test_other_items_are_refused_and_may_be_left_out_by_name(cli: CommandLine, tmp_path: Path):
    content = rows(drawn({"a": 0.4, "b": 0.6}))
    path = write_csv(tmp_path / "scores.csv", [row for row in content if (row["method"], row["item"]) != ("a", "q7")])
    complaint = cli.fails("stats", path, code=2)
    assert "a, run 0 has no score for 1 of 30 items of the test, e.g. q7; bring them, or compare on the 29 items" in complaint
    [table] = tables(cli, path, "--shared-items")
    assert table["items"] == 29 and "1 of 30 items are left out" in " ".join(table["notes"])


def test_a_sample_that_failed_is_counted_and_is_no_zero(cli: CommandLine, tmp_path: Path):
    content = rows(drawn({"a": 0.4, "b": 0.6}, samples=2))
    spoilt = [row | ({"score": ""} if (row["method"], row["item"], row["sample"]) == ("a", "q7", 1) else {}) for row in content]
    [table] = tables(cli, write_csv(tmp_path / "scores.csv", spoilt))
    row = by_method(table)["a"]
    kept = [each["score"] for each in spoilt if (each["method"], each["item"]) == ("a", "q7") and each["score"] != ""]
    others = {each["item"]: [] for each in spoilt}
    for each in spoilt:
        if each["method"] == "a" and each["score"] != "":
            others[each["item"]].append(each["score"])
    assert len(kept) == 1 and row["score"] == pytest.approx(np.mean([np.mean(values) for values in others.values()]))
    assert row["failed"] == 1 and row["pass_at_k"] is None and "a: 1 failed; not counted as 0 but left out" in table["notes"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda row: {"item": row["item"], "method": row["method"]}, "has no column for the score"),
        (lambda row: row | {"reward": 1}, "has several columns that may be the score: score, reward"),
        (lambda row: row | {"score": "good"}, "the score 'good' is no number"),
        (lambda row: row | {"item": ""}, "row 1 has no item"),
        (lambda row: row | {"sample": 0, "item": "q1"}, "sample 0 of item q1 occurs twice"),
    ],
)
def test_a_table_that_is_unclear_is_refused_in_one_line(change: Any, complaint: str, cli: CommandLine, tmp_path: Path):
    path = write_csv(tmp_path / "scores.csv", [change(row) for row in rows(drawn({"a": 0.4, "b": 0.6}))])
    command = ["stats", str(path), "--json"]
    code = 2 if "column" in complaint else 1
    assert complaint in cli.fails(*command, code=code)


def test_unknown_names_are_answered_with_the_nearest(cli: CommandLine, tmp_path: Path):
    path = write_csv(tmp_path / "scores.csv", rows(drawn({"base": 0.4, "tuned": 0.6})))
    assert "did you mean 'tuned'" in cli.fails("stats", path, "--against=tunde", code=2)
    assert "did you mean 'score'" in cli.fails("stats", path, "--column=scor=score", code=2)
    assert "--column takes ROLE=NAME" in cli.fails("stats", path, "--column=score", code=2)
    assert "is named twice, and would count as two runs" in cli.fails("stats", path, path, code=2)
    assert "does not exist" in cli.fails("stats", tmp_path / "nothing.csv", code=2)
    assert "holds no log that is known" in cli.fails("stats", tmp_path, code=2)


def test_several_tests_are_several_tables_with_the_reference_where_it_is(cli: CommandLine, tmp_path: Path):
    content = [{"task": task, **row} for task in ("sums", "words") for row in rows(drawn({"a": 0.4, "b": 0.6}))]
    both = tables(cli, write_csv(tmp_path / "scores.csv", content), "--against=b")
    assert [(table["test"], table["reference"]) for table in both] == [("sums", "b"), ("words", "b")]


def test_a_design_separates_the_gap_in_four_of_five_studies(cli: CommandLine, tmp_path: Path):
    """Draw differences of items with the estimated noise, as many as the design says, and count how often 0 is excluded."""
    scores = drawn({"base": 0.5, "tuned": 0.5}, items=80, samples=4)
    path = write_csv(tmp_path / "scores.csv", rows(scores))
    [plan] = json.loads(cli.succeeds("stats", path, "--detect=5pp", "--json"))["plans"]
    design = next(each for each in plan["designs"] if each["samples"] == 1)
    noise = ItemNoise.of(scores["tuned"][0], scores["base"][0])
    rng = rng_for(5, "studies")
    studies = rng.normal(0.05, (noise.items + noise.samples) ** 0.5, size=(4000, design["items"]))
    tested = scipy_stats.ttest_1samp(studies, 0.0, axis=1)
    assert np.mean(tested.pvalue < 0.05) == pytest.approx(0.8, abs=0.03)  # pyright: ignore[reportAttributeAccessIssue]
    assert design["separates"] <= 0.05
