"""Runs and their data: what provenance keeps, what a resume refuses, and what an evaluation-only environment allows."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_fixtures import write_jsonl
from endpoint_server import Handler, serving
from loop_fixtures import SHAPE
from says_two import SaysTwo

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.cli.console import out_console
from espl_bench.cli.display import result_line, result_panel
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.errors import UsageError
from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.leaderboard.render import to_markdown
from espl_bench.leaderboard.table import build_tables
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.utils.jsonl import decode


@pytest.fixture
def endpoint() -> Iterator[list[str]]:
    """The same thought behind an endpoint, as options of the command line."""

    class Two(Handler):
        def do_GET(self) -> None:
            self.refuse(404, "lists nothing")

        def do_POST(self) -> None:
            self.body()
            choice = {"index": 0, "message": {"role": "assistant", "content": r"\boxed{2}"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 2, "completion_tokens": 2}
            self.reply(200, json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode())

    with serving(Two) as base_url:
        yield ["--engine=openai", f"--base-url={base_url}", "--model=m"]


@pytest.fixture(autouse=True)
def _data(data_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def sums(name: str, start: int, number: int) -> None:
    write_jsonl(Path(name), [{"problem": f"What is {n} - {n - n % 4}?", "answer": n % 4} for n in range(start, start + number)])


def configure(method: str = "espl", **options: str | int) -> RunConfig:
    shape = SHAPE | {"model": "says-two", "steps": 3, "batch_size": 4, "eval_every": 1, "env_options": options}
    return resolve(method, "jsonl", shape)


def both() -> dict[str, str]:
    sums("train.jsonl", 0, 40)
    sums("test.jsonl", 500, 8)
    return {"train": "train.jsonl", "test": "test.jsonl"}


def test_a_run_keeps_what_its_data_were(tmp_path: Path):
    summary = runner.run(configure(**both()), tmp_path / "run", engine=SaysTwo())
    assert summary.score == 0.25 and summary.validation_score is not None
    data = json.loads((tmp_path / "run" / "provenance.json").read_text())["facts"]["data"]
    assert set(data["identity"]) == {"train", "validation", "test"} and data["identity"]["test"] == data["files"][1]["identity"]
    assert [record["file"] for record in data["files"]] == ["train.jsonl", "test.jsonl"]
    told = {
        name: data["files"][1][name] for name in ("layout", "rows_read", "items", "duplicates", "conflicts", "skipped", "unread_columns")
    }
    assert told == {
        "layout": "problem and answer",
        **{"rows_read": 8, "items": 8, "duplicates": 0, "conflicts": 0},
        **{"skipped": {}, "unread_columns": []},
    }


def test_a_run_whose_answers_cannot_be_graded_says_so_whatever_it_was_asked_to_print(
    endpoint: list[str], capsys: pytest.CaptureFixture[str]
):
    write_jsonl(Path("test.jsonl"), [{"problem": f"What is 0 + {n}?", "answer": "2" if n else "\\frac{1}{0}"} for n in range(4)])
    common = ["run", "--env=jsonl", "--data=test=test.jsonl", "--method=base", "--eval-samples=2", *endpoint]
    for place, how in enumerate(([], ["--quiet"], ["--json"])):
        assert invoke([*common, *how, f"--out=run{place}"]) == 0
        warnings = [line for line in capsys.readouterr().err.splitlines() if "could not be graded" in line]
        assert warnings[-1] == (
            "! 25.0 % of the test answers could not be graded (error 25.0 %): do not trust these figures; the rollouts say why"
        )
    assert RunDir(Path("run0")).summary().score == 0.75


def test_a_resume_on_other_data_is_refused_in_one_line(tmp_path: Path):
    runner.run(configure(**both()), tmp_path / "run", engine=SaysTwo())
    (tmp_path / "run" / "summary.json").unlink()
    text = Path("test.jsonl").read_text()
    sums("test.jsonl", 500, 9)
    with pytest.raises(UsageError) as refusal:
        runner.resume(tmp_path / "run", engine=SaysTwo())
    said = str(refusal.value)
    assert "was started on other data: test " in said and " -> " in said and "train" not in said and "\n" not in said
    Path("test.jsonl").write_text(text)
    assert runner.resume(tmp_path / "run", engine=SaysTwo()).score == 0.25


def test_a_table_notes_that_runs_met_other_items(tmp_path: Path):
    files = both()
    first = runner.run(configure("base", **files), tmp_path / "one", engine=SaysTwo())
    sums("train.jsonl", 100, 40)
    other = runner.run(configure("rl_only", **files), tmp_path / "two", engine=SaysTwo())
    [table] = build_tables([GroupEntry("base", first), GroupEntry("rl_only", other)])
    hashes = [run.data_identity["train"][:12] for run in (first, other)]
    assert table.notes[0] == f"train items differ, so these runs cannot be compared: {hashes[0]} base; {hashes[1]} rl_only"
    [table] = build_tables([GroupEntry("base", first), GroupEntry("rl_only", first)])
    assert not any("items differ" in note for note in table.notes)


def test_without_a_training_split_base_runs_and_what_learns_is_refused(tmp_path: Path):
    sums("test.jsonl", 500, 8)
    with pytest.raises(UsageError, match="environment 'jsonl' is for evaluation only, and espl learns; use --method base"):
        runner.run(configure("espl", test="test.jsonl"), tmp_path / "espl", engine=SaysTwo())
    assert not (tmp_path / "espl").exists()
    summary = runner.run(configure("base", test="test.jsonl"), tmp_path / "base", engine=SaysTwo())
    assert summary.score == 0.25 and summary.validation_score is None
    assert [row["split"] for row in RunDir(tmp_path / "base").read_log(Log.EVALUATIONS, decode)] == ["test"]
    assert "validation –" in result_line(summary, tmp_path)
    out_console().print(result_panel(summary, tmp_path))
    assert "| – |" in to_markdown(build_board([GroupEntry("base", summary)]))


def test_without_a_validation_split_a_run_is_not_validated(tmp_path: Path):
    summary = runner.run(configure("rl_only", **both(), holdout=0), tmp_path / "run", engine=SaysTwo())
    assert summary.validation_score is None and summary.steps == 3
    assert [row["split"] for row in RunDir(tmp_path / "run").read_log(Log.EVALUATIONS, decode)] == ["test"]


def test_data_on_the_command_line_are_options_of_the_environment(endpoint: list[str], capsys: pytest.CaptureFixture[str]):
    files = both()
    named = [f"--data={split}={file}" for split, file in files.items()]
    common = ["run", "--env", "jsonl", "--method", "base", *endpoint, "--eval-samples", "2", "--out", "run", "--json"]
    assert invoke([*common, *named]) == 0
    assert json.loads(capsys.readouterr().out)["env_options"] == files
    for wrong, words in (
        ("tset=a.jsonl", "unknown split 'tset'; did you mean 'test'?"),
        ("a.jsonl", "--data takes SPLIT=FILE, e.g. test=problems.jsonl, not 'a.jsonl'"),
        ("test=b.jsonl", "--data names two files for test"),
    ):
        assert invoke([*common, *named, "--data", wrong]) == 2
        assert words in capsys.readouterr().err
    assert invoke(["run", "--env", "rulebook", "--dry-run", *named]) == 2
    assert "environment 'rulebook' does not take these options" in capsys.readouterr().err
