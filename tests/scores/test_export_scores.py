"""`export-scores`: the final test of a run as others read it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import CommandLine
from huggingface_hub import parse_eval_result_entries

from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Split

OLD_RUN = Path(__file__).parents[1] / "support" / "old_run"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def exported(cli: CommandLine, *options: str) -> dict[str, Any]:
    return json.loads(cli.succeeds("export-scores", OLD_RUN, *options))


def test_a_log_of_inspect_holds_every_rollout_of_the_final_test(cli: CommandLine):
    log, summary = exported(cli), RunDir.open(OLD_RUN).summary()
    rows = RunDir.open(OLD_RUN).read_rollouts(summary.steps, RolloutRow.parse, Split.TEST)
    assert (log["version"], log["status"], log["eval"]["model"]) == (2, "success", summary.model)
    assert [(each["id"], each["epoch"]) for each in log["samples"]] == [(row.problem_id, row.sample + 1) for row in rows]
    assert [each["scores"]["reward"]["value"] for each in log["samples"]] == [row.reward for row in rows]
    assert log["results"]["scores"][0]["metrics"]["mean"]["value"] == summary.score
    first = log["samples"][0]
    assert [message["role"] for message in first["messages"]] == ["system", "user", "assistant"]
    assert first["messages"][-1]["content"] == first["output"]["choices"][0]["message"]["content"] == rows[0].turns[-1]
    assert all(principle in first["messages"][0]["content"] for principle in summary.shown_prompt)


def test_stats_reads_the_log_back(cli: CommandLine, tmp_path: Path):
    cli.succeeds("export-scores", OLD_RUN, f"--out={tmp_path / 'log.json'}")
    summary = RunDir.open(OLD_RUN).summary()
    [table] = json.loads(cli.succeeds("stats", tmp_path / "log.json", "--json"))["tables"]
    [row] = table["rows"]
    assert (table["test"], row["method"], row["runs"]) == (summary.environment, summary.row, [str(summary.seed)])
    assert row["score"] == pytest.approx(summary.score) and (table["items"], table["samples"]) == (summary.n_items, summary.k)


def test_an_entry_for_the_hub_is_read_by_the_hub_s_own_package(cli: CommandLine):
    text = cli.succeeds("export-scores", OLD_RUN, "--to=eval-results", "--dataset=me/rulebook", "--task=hard", "--source=https://x.org/run")
    [entry] = parse_eval_result_entries(yaml.safe_load(text))
    summary = RunDir.open(OLD_RUN).summary()
    assert (entry.dataset_id, entry.task_id, entry.source_url) == ("me/rulebook", "hard", "https://x.org/run")
    assert entry.value == pytest.approx(100 * summary.score)
    assert entry.notes is not None and f"avg@{summary.k} over {summary.n_items} items, seed {summary.seed}" in entry.notes


def test_what_cannot_be_exported_is_refused_in_one_line(cli: CommandLine, tmp_path: Path):
    assert "no single data set of the hub; name the benchmark with --dataset" in cli.fails(
        "export-scores", OLD_RUN, "--to=eval-results", code=2
    )
    assert "did you mean 'inspect'" in cli.fails("export-scores", OLD_RUN, "--to=inspct", code=2)
    assert "belong to --to eval-results" in cli.fails("export-scores", OLD_RUN, "--dataset=me/x", code=2)
    assert "holds no run" in cli.fails("export-scores", tmp_path)
    (tmp_path / "there.json").write_text("mine")
    assert "is there already" in cli.fails("export-scores", OLD_RUN, f"--out={tmp_path / 'there.json'}", code=2)
    assert (tmp_path / "there.json").read_text() == "mine"


def test_inspect_itself_reads_the_log(cli: CommandLine, tmp_path: Path):
    log = pytest.importorskip("inspect_ai.log")
    cli.succeeds("export-scores", OLD_RUN, f"--out={tmp_path / 'log.json'}")
    read = log.read_eval_log(str(tmp_path / "log.json"))
    assert read.status == "success" and len(read.samples) == RunDir.open(OLD_RUN).summary().n_items * RunDir.open(OLD_RUN).summary().k
