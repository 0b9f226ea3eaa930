"""Questions with short answers: what counts as the same answer, and files of one's own in the layouts of published sets."""

import json
from pathlib import Path

import pytest
from data_fixtures import write_jsonl
from espl_envs.math.own_files import own_files as mathematics
from espl_envs.qa.env import QaEnv, own_files

from espl_bench.cli.app import invoke
from espl_bench.environment.checker import check_environment
from espl_bench.environment.probing import play
from espl_bench.errors import DataError, UsageError
from espl_bench.grading.words import same_words
from espl_bench.types import Outcome, Split

SAME = [
    ("The Town", "town"),
    ("1914–1918", "1914-1918"),
    ("1914—18", "1914-18"),
    ("Catch-22", "Catch 22"),
    ("A, B", "a, b"),
    ("R\\&B", "R&B"),
    ("Q&amp;A", "Q&A"),
    ("#### 5", "5"),
    ("New~York", "New York"),
    ("well‑known", "well known"),
    ("1,000", "1000"),
    ("1,234,567.50", "1234567.5"),
    ("3.0", "3"),
    ("1,000km", "1000km"),
    ("007", "7"),
    ("twelve", "12"),
    ("−5", "-5"),
    ("Beyoncé", "Beyonce\u0301"),
    ("Ｔｏｗｎ", "town"),
    ("“don’t”", "dont"),
    ("5 %", "5"),
    ("$5", "5"),
    ("U.S.", "US"),
    ("Rock'n'Roll!", "rocknroll"),
    ("June 5, 1998", "june 5 1998"),
]
DIFFERENT = [
    ("3.14", "314"),
    ("Beyoncé", "Beyonce"),
    ("1914–18", "1914 18"),
    ("A, B", "B"),
    ("A-B", "B"),
    ("6'2\"", "62"),
    ("±5", "5"),
    ("<5", "5"),
    ("10^6", "106"),
    ("D-", "D"),
    ("~~Paris~~", "Paris"),
    ("-5", "5"),
    ("31.4", "3.14"),
    ("1,23", "123"),
    ("10", "1"),
    ("が", "か"),
    ("1914", "1914-1918"),
    ("1.2.3", "123"),
    ("6:00", "600"),
    ("1/2", "12"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_means_the_same_is_the_same(one: str, other: str):
    assert same_words(one, other) and same_words(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_means_something_else_is_not(one: str, other: str):
    assert not same_words(one, other) and not same_words(other, one)


def env_of(folder: Path, *records: dict, **options) -> QaEnv:
    return own_files(test=str(write_jsonl(folder / "test.jsonl", records)), **options)


def said(env: QaEnv, text: str, index: int = 0) -> object:
    return play(env, env.problem(Split.TEST, index), text).outcome


def test_any_of_the_true_answers_is_right_and_f1_is_measured(tmp_path: Path):
    env = env_of(tmp_path, {"question": "Where?", "answer": ["Town 1", "the old Town of One"]}, {"question": "A?", "answer": ["A"]})
    assert said(env, "Hm.\nAnswer: the Old Town of 1") is Outcome.CORRECT
    assert said(env, "Answer: Town 2") is Outcome.WRONG and said(env, "Town 1") is Outcome.NO_ANSWER
    assert said(env, "Answer: a", 1) is Outcome.CORRECT, "a true answer that normalisation would empty"
    assert env.grade(env.problem(Split.TEST, 0), "Answer: Town 2").measures == {"f1": 0.5}
    assert env.problem(Split.TEST, 0).answer == '["Town 1", "the old Town of One"]' and env.problem(Split.TEST, 1).answer == "A"


def test_the_answer_is_read_where_it_is_said_to_be(tmp_path: Path):
    rows = [{"question": "Where?", "answer": "Town 1"}]
    for extraction, text in (("answer_line", "Answer: Town 1"), ("boxed", r"\boxed{Town 1}"), ("boxed_or_answer_line", r"\boxed{Town 1}")):
        env = env_of(tmp_path, *rows, extraction=extraction)
        assert said(env, text) is said(env, env.problem(Split.TEST, 0).gold) is Outcome.CORRECT
    with pytest.raises(UsageError, match="unknown extraction 'anywhere'"):
        env_of(tmp_path, *rows, extraction="anywhere")


def test_it_keeps_the_contract(tmp_path: Path):
    train = str(write_jsonl(tmp_path / "train.jsonl", [{"question": f"Where is {n}?", "answer": f"Town {n}"} for n in range(40)]))
    test = str(write_jsonl(tmp_path / "test.jsonl", [{"question": f"And {n}?", "answer": [f"Place {n}", "x"]} for n in range(5)]))
    env = own_files(train=train, test=test)
    check_environment(env, twin=own_files(train=train, test=test))
    assert 0 < env.size(Split.VALIDATION) < env.size(Split.TRAIN) and env.size(Split.TEST) == 5
    assert own_files(train=train, test=test).served is env.served, "read once"


def test_each_of_the_two_environments_names_the_other_for_files_that_it_cannot_grade(tmp_path: Path):
    gsm = [{"question": "2 + 4?", "answer": "#### 6"}]
    with pytest.raises(UsageError, match="has the columns of GSM8K, whose answers are mathematics: use --env jsonl"):
        env_of(tmp_path, *gsm)
    for rows, words in (
        ([{"question": "2 + 4?", "answer": ["6", "six"]}], "whose answers are short texts: use --env qa"),
        ([{"problem": "Where?", "answer": "Town 7"}], "1 of 1 answers are words .*: use --env qa"),
    ):
        with pytest.raises(UsageError, match=words):
            mathematics(test=str(write_jsonl(tmp_path / "other.jsonl", rows)))
    with pytest.raises(DataError, match="1 rows have several right answers: if any of them is right, use --env qa"):
        mathematics(test=str(write_jsonl(tmp_path / "several.jsonl", [{"problem": "2 + 4?", "answer": ["6", "7"]}])))


def test_problems_that_ask_for_the_answer_elsewhere_are_refused(tmp_path: Path):
    rows = [{"problem": f"{n} + 1? Write the result after ####.", "answer": n + 1} for n in range(3)]
    with pytest.raises(UsageError, match=r"3 of 3 problems ask for the answer after '####', but jsonl reads it in a box"):
        mathematics(test=str(write_jsonl(tmp_path / "a.jsonl", rows)))
    lines = [{"problem": f'{n} + 1? Put it on a line of the form "Answer: $Answer".', "answer": n + 1} for n in range(3)]
    file = str(write_jsonl(tmp_path / "b.jsonl", lines))
    with pytest.raises(UsageError, match=r"ask for the answer after 'Answer:', .* --env-option extraction=boxed_or_answer_line"):
        mathematics(test=file)
    assert mathematics(test=file, extraction="boxed_or_answer_line").size(Split.TEST) == 3


SOLUTIONS = (
    "If Jana is in 5th place, she finished after four others. Therefore 4 people crossed the finish line faster than Jana did today.",
    'Let us call the number "x". Divided by 10 it is 6:\n\nx / 10 = 6\n\nMultiply both sides of the equation by ten. Therefore it is 60.',
    "Since there are 12 plums and Mira eats 5 of them, the number of plums that remain is 7. The answer is therefore seven plums.",
)
"""Answers as Orca-Math has them."""


def test_whole_solutions_are_no_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [{"question": f"{n}?", "answer": answer} for n, answer in enumerate(SOLUTIONS)]
    for make in (own_files, mathematics):
        with pytest.raises(DataError, match=r"3 of 3 answers are whole solutions \('If Jana .* answer_column=NAME, or write them into one"):
            make(test=str(write_jsonl(tmp_path / "a.jsonl", rows)))
    short = [{"question": f"Who is {n}?", "answer": f"St. Bernadette of the {n}. District, J. R. R. Tolkien's Mr. Smith"} for n in range(3)]
    file = write_jsonl(tmp_path / "b.jsonl", [*rows[:1], {"question": "1?", "answer": [SOLUTIONS[1], "60"]}, *short])
    assert invoke(["data", "check", "qa", f"--data=test={file}"]) == 0
    assert "! 1 answers are whole solutions, which no response equals" in capsys.readouterr().out


def test_the_command_tells_which_layout_was_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [{"question": f"Where is {n}?", "answer": f"Town {n}", "supporting_facts": []} for n in range(3)] + [{"question": "x"}]
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    assert invoke(["data", "check", "qa", f"--data=test={file}", "--env-option=skip_bad_rows=true"]) == 0
    out = capsys.readouterr().out
    for words in (
        "test: a.jsonl: layout 'HotpotQA, 2WikiMultihopQA': question -> answer",
        "4 rows read, 0 repeated a problem, 3 items; columns not read: 'supporting_facts'",
        "! 1 rows were dropped: rows have no answer",
        "test: the first problem, and its answer as read\nWhere is 0?\n-> Town 0",
    ):
        assert words in out
    assert invoke(["data", "check", "qa", f"--data=test={file}", "--env-option=skip_bad_rows=true", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"][0]["skipped"] == {"rows have no answer": 1} and found["splits"][0]["text_only"] == 3
    assert invoke(["data", "check", "qa", f"--data=test={file}"]) == 1
    assert "or drop them with --env-option skip_bad_rows=true" in capsys.readouterr().err
    assert invoke(["data", "check", "qa", f"--data=test={file}", "--env-option=skip_bad_rows=3"]) == 2
    assert "skip_bad_rows is true or false, not 3" in capsys.readouterr().err
