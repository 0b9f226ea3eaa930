import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import NASTY
from grading_fixtures import needs_data, rows
from patience import PATIENCE_S

from espl_bench.cli.app import invoke
from espl_bench.cli.commands.grade import UNBOXED
from espl_bench.grading import GradingRules

Captured = pytest.CaptureFixture[str]


def graded(capsys: Captured, *arguments: str) -> tuple[str, str]:
    capsys.readouterr()
    assert invoke(["grade", *arguments]) == 0
    out, err = capsys.readouterr()
    return out, err


def write(path: Path, *records: Any) -> str:
    path.write_text("\n".join(record if isinstance(record, str) else json.dumps(record) for record in records) + "\n")
    return str(path)


def test_a_verdict_is_explained(capsys: Captured):
    out, _ = graded(capsys, "--gold", "1/2", "--answer", "It is \\boxed{\\frac{2}{4}}.")
    lines = {line[:16].strip(): line[16:].strip() for line in out.splitlines()}
    assert lines == {
        "gold": "1/2",
        "extracted": "\\frac{2}{4}",
        "from": "the last box",
        "compared": "by reading: they have the same value",
        "gold read as": "1/2 (scalar)",
        "answer read as": "1/2 (scalar)",
        "outcome": "correct",
    }


def test_texts_that_print_alike_are_told_apart(capsys: Captured):
    out, _ = graded(capsys, "--gold", "\\text{pap}", "--answer", "\\boxed{\\text{p\u0430p}}")
    assert "at character 8: U+0061 LATIN SMALL LETTER A in the gold answer, U+0430 CYRILLIC SMALL LETTER A in the answer" in " ".join(
        out.split()
    )
    out, _ = graded(capsys, "--gold", "(0,1)", "--answer", "\\boxed{\\{0,1\\}}")
    assert "of kind bracketed, the answer of kind setof" in " ".join(out.split())


def test_an_answer_without_a_box_is_marked(capsys: Captured):
    assert UNBOXED in " ".join(graded(capsys, "--gold", "1/2", "--answer", "0.5")[0].split())
    assert "note" not in graded(capsys, "--gold", "1/2", "--answer", "\\boxed{0.5}")[0]
    assert "note" not in graded(capsys, "--gold", "1/2", "--answer", "0.5", "--extract", "none")[0]


def test_a_verdict_as_json(capsys: Captured):
    out, err = graded(capsys, "--gold", "033", "--answer", "33", "--json")
    assert err == ""
    assert json.loads(out) == {
        "outcome": "correct",
        "extracted": "33",
        "how": "integer",
        "detail": "the integers are equal",
        "gold_form": "33",
        "answer_form": "33",
    }


def test_what_a_model_wrote_is_printed_literally(capsys: Captured):
    out, _ = graded(capsys, "--gold", "42", "--answer", f"\\boxed{{{NASTY}}}")
    assert "dax [bold]larger[/bold]" in out
    assert ":smile:" in out
    assert not set(out) & {"\x1b", "\x07", "\u202e"}


@pytest.mark.parametrize(
    ("extraction", "outcome"),
    [
        ("auto", "correct"),
        ("none", "correct"),
        ("boxed", "correct"),
        ("answer_line", "wrong"),
        ("boxed_or_answer_line", "correct"),
        ("anywhere", "correct"),
    ],
)
def test_where_the_answer_stands(extraction: str, outcome: str, capsys: Captured):
    out, _ = graded(capsys, "--gold", "\\frac{1}{2}", "--answer", "\\boxed{0.5}\nAnswer: 7", "--extract", extraction, "--json")
    assert json.loads(out)["outcome"] == outcome


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("204", "correct"), ("\\boxed{204}", "correct"), ("\\boxed{204} \\boxed{", "no_answer"), ("<think>\\boxed{204}", "no_answer")],
)
def test_without_a_choice_a_box_makes_it_a_response(answer: str, outcome: str, capsys: Captured):
    assert json.loads(graded(capsys, "--gold", "204", "--answer", answer, "--json")[0])["outcome"] == outcome


def test_a_file_is_graded_line_by_line(tmp_path: Path, capsys: Captured):
    file = write(
        tmp_path / "answers.jsonl",
        {"id": "a", "gold": "1/2", "answer": "0.5"},
        "",
        {"id": 2, "gold": "42", "answer": "\\boxed{41}"},
        {"id": "c", "gold": "42", "answer": ""},
        {"id": "d", "gold": "$9$", "answer": "Answer $ 9 $", "options": {"match_types": ["latex"]}},
        {"id": "e", "gold": "\\frac{1}{3}", "answer": "0.33", "options": {"precision": 2}},
        {"id": "f", "gold": "f(x)", "prediction": "f(y)", "options": {"strict": False}},
        {"id": "g", "gold": "7", "answer": "\ud800", "extra": [1]},
    )
    out, err = graded(capsys, "--jsonl", file, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [{"id": row["id"], "outcome": row["outcome"]} for row in found] == [
        {"id": "a", "outcome": "correct"},
        {"id": 2, "outcome": "wrong"},
        {"id": "c", "outcome": "no_answer"},
        {"id": "d", "outcome": "correct"},
        {"id": "e", "outcome": "correct"},
        {"id": "f", "outcome": "correct"},
        {"id": "g", "outcome": "wrong"},
    ]
    assert all(row["detail"] and row["source"] for row in found)
    assert (found[0]["gold_form"], found[1]["source"]) == ("1/2 (scalar)", "the last box")
    note = f"5 of 7 answers have no box: {UNBOXED}\n"
    counts = "7 answers: correct 4 (57.1 %), wrong 2 (28.6 %), no answer 1 (14.3 %)\n"
    assert err == counts + note
    assert graded(capsys, "--jsonl", file) == (counts, note)
    assert graded(capsys, "--jsonl", file, "--json", "--quiet")[1] == ""


def test_many_failures_are_told_loudly(tmp_path: Path, capsys: Captured):
    right = [{"id": number, "gold": "1", "answer": "1"} for number in range(99)]
    file = write(tmp_path / "one.jsonl", *right, {"id": "bad", "gold": "", "answer": "1"})
    assert "do not trust" not in graded(capsys, "--jsonl", file)[1], "one in a hundred is bearable"
    file = write(tmp_path / "two.jsonl", *right[1:], *[{"id": "bad", "gold": "", "answer": "1"}] * 2)
    out, err = graded(capsys, "--jsonl", file)
    assert "error 2 (2.0 %)" in out
    assert (
        err.splitlines(keepends=True)[-1]
        == "! 2 of 100 answers (2.0 %) could not be graded; do not trust these figures; examine one with --answer\n"
    )


def test_an_empty_file(tmp_path: Path, capsys: Captured):
    assert graded(capsys, "--jsonl", write(tmp_path / "empty.jsonl")) == ("0 answers: none\n", "")


def test_numbers_are_texts_and_a_missing_answer_is_none(tmp_path: Path, capsys: Captured):
    lines = ['{"id": 1, "gold": 42, "answer": 42.0}', '{"id": 2, "gold": "1/2", "answer": 0.5}', '{"id": null, "gold": 3, "answer": null}']
    file = tmp_path / "answers.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    out, _ = graded(capsys, "--jsonl", str(file), "--json")
    assert [json.loads(line)["outcome"] for line in out.splitlines()] == ["correct", "correct", "no_answer"]


def test_a_path_may_begin_at_home_and_is_never_empty(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "answers.jsonl").write_text('{"id": 1, "gold": "1", "answer": "1"}', encoding="utf-8")
    assert json.loads(graded(capsys, "--jsonl", "~/answers.jsonl", "--json")[0])["outcome"] == "correct"
    assert invoke(["grade", "--jsonl", ""]) == 2 and "--jsonl is empty; name a path" in capsys.readouterr().err


ROW = {"id": 1, "gold": "1", "answer": "1"}
BROKEN = {
    "{": "is not JSON",
    "[1]": "is not a JSON object; write one with the columns id, gold and answer",
    '{"id": 1, "answer": "1"}': "has no column 'gold'; every line needs id, gold and answer",
    '{"id": 1, "gold": "1"}': "has no column 'answer'",
    '{"gold": "1", "answer": "1"}': "has no column 'id'",
    '{"id": 1, "gold": true, "answer": "1"}': "column 'gold' is no text and no number; put it in quotes",
    '{"id": 1, "gold": "1", "answer": ["1"]}': "column 'answer' is no text and no number",
    '{"id": 1, "gold": null, "answer": "1"}': "column 'gold' is null; without a gold answer nothing can be graded: remove the line",
    '{"id": 1, "gold": "1", "answer": "1", "options": 3}': "column 'options' is not a JSON object",
    '{"id": 1, "gold": "1", "answer": "1", "options": {"strikt": true}}': "unknown option 'strikt'; did you mean 'strict'?",
    '{"id": 1, "gold": "1", "answer": "1", "options": {"strict": 1}}': "option 'strict' must be a bool, not 1",
    '{"id": 1, "gold": "1", "answer": "1", "options": {"precision": true}}': "option 'precision' must be a int, not true",
    '{"id": 1, "gold": "1", "answer": "1", "options": {"match_types": ["latx"]}}': "unknown match type 'latx'; did you mean 'latex'?",
    '{"id": 1, "gold": "1", "answer": "1", "options": {"match_types": []}}': "option 'match_types' is empty",
    '"\udcff"': "is not JSON",
    '{"id": 1, "gold": "1", "answer": ' + "[" * 100_000: "is nested too deeply; fix or remove it",
}


@pytest.mark.parametrize(("line", "message"), BROKEN.items(), ids=range(len(BROKEN)))
def test_a_broken_line_is_named_before_anything_is_graded(line: str, message: str, tmp_path: Path, capsys: Captured):
    file = tmp_path / "answers.jsonl"
    file.write_bytes(json.dumps(ROW).encode() + b"\n" + line.encode(errors="surrogateescape") + b"\n")
    assert invoke(["grade", "--jsonl", str(file), "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"espl-bench: {file}, line 2") and err.count("\n") == 1
    assert message in err


MISTAKES = {
    (): "give either --gold and --answer, or --jsonl",
    ("--gold", "1"): "give either --gold and --answer, or --jsonl",
    ("--gold", "1", "--answer", "1", "--jsonl", "x"): "give either --gold and --answer, or --jsonl",
    ("--jsonl", "nowhere"): "cannot read nowhere (No such file or directory); give --jsonl a file with one JSON object a line",
    ("--jsonl", "."): "--jsonl names the folder ., or nothing; give it a file",
    ("--gold", "1", "--answer", "1", "--extract", "boxd"): "unknown --extract value 'boxd'; did you mean 'boxed'?",
    ("--gold", "1", "--answer", "1", "--match-types", "latx"): "unknown match type 'latx'; did you mean 'latex'?",
    ("--gold", "1", "--answer", "1", "--match-types", "expr", "--extract", "boxed"): "use it with --extract anywhere",
    ("--gold", "1", "--answer", "1", "--timeout", "0"): "timeout_s must be more than 0 seconds",
    ("--gold", "1", "--answer", "1", "--memory", "0"): "Invalid value for '--memory'",
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.items())
def test_a_mistake_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str, capsys: Captured):
    assert invoke(["grade", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("espl-bench: ") and err.count("\n") == 1
    assert message in err


def test_the_help_says_the_defaults_and_imports_nothing_heavy(capsys: Captured, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "140")
    invoke(["grade", "--help"])
    shown = capsys.readouterr().out
    rules = GradingRules()
    for default in (rules.float_rounding, f"{rules.timeout_s:g}", rules.memory_mib):
        assert f"Default: {default}." in shown
    script = "import sys; from espl_bench.cli.app import invoke; invoke(['grade', '--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert not set(done.stdout.splitlines()[-1].split()) & {"sympy", "math_verify", "torch", "numpy", "espl_bench.grading"}


def test_a_terminal_sees_a_bar_and_a_pipe_does_not(tmp_path: Path):
    file = write(tmp_path / "answers.jsonl", *({"id": n, "gold": "1", "answer": str(n)} for n in range(50)))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "espl_bench", "grade", "--jsonl", file, "--json"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=theirs, check=True, timeout=PATIENCE_S, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    assert len(done.stdout.splitlines()) == 50
    assert b"grading" in os.read(ours, 1 << 16)
    os.close(ours)


@needs_data
def test_the_rows_of_math_verify_through_the_command_line(tmp_path: Path, capsys: Captured):
    cases = [row for row in rows("grader_cases.jsonl") if row["grader"] == "math-verify"]
    file = write(tmp_path / "cases.jsonl", *({**row, "answer": row["prediction"]} for row in cases))
    out, _ = graded(capsys, "--jsonl", file, "--json")
    found = {record["id"]: record["outcome"] for record in map(json.loads, out.splitlines())}
    agree = sum((found[row["id"]] == "correct") == row["equal"] for row in cases)
    assert agree >= 0.97 * len(cases)
