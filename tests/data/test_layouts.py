"""Published column layouts: what is shown, what counts as right, and what is refused because it could not be graded."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from espl_bench.data.data_files import find_files
from espl_bench.data.instructions import KNOWN_WRAPPERS, AnswerPlace, places_asked
from espl_bench.data.intake import IntakeRules, take_in
from espl_bench.data.layouts import LAYOUTS, AnswerKind
from espl_bench.errors import DataError, EsplError, UsageError

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 4?"}]
LETTERS = "\n\nAnswer with the letter of the right choice."


def read(*records: dict[str, Any], skip: bool = False, several: bool = True):
    return take_in(records, "FILE", rules=IntakeRules(several=several, skip_bad_rows=skip))


def first(record: dict[str, Any]) -> tuple[str, list[str]]:
    [item] = read(record).items
    return item.problem, json.loads(item.answer)


PUBLISHED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "GSM8K": ({"question": "2 + 4?", "answer": "2+4=<<2+4=6>>6\n#### 6"}, ["6"]),
    "MATH": ({"problem": "2 + 4?", "solution": r"First \boxed{3}, then $\boxed{\frac{6}{1}}$."}, [r"\frac{6}{1}"]),
    "AIME with capitals": ({"ID": "1", "Problem": "2 + 4?", "Answer": 6}, ["6"]),
    "verl": ({"prompt": CHAT, "reward_model": {"ground_truth": '["6"]', "style": "rule"}}, ["6"]),
    "verl in text": ({"prompt": json.dumps(CHAT), "reward_model": "{'ground_truth': '6'}"}, ["6"]),
    "Search-R1": ({"question": "2 + 4?", "golden_answers": ["6", "six"], "prompt": CHAT}, ["6", "six"]),
    "OpenAI evals": ({"input": CHAT, "ideal": "6"}, ["6"]),
    "Inspect": ({"input": "2 + 4?", "target": ["6", "six"], "choices": None}, ["6", "six"]),
    "ShareGPT": ({"conversations": [{"from": "human", "value": "2 + 4?"}, {"from": "gpt", "value": r"It is \boxed{6}."}]}, ["6"]),
    "ORZ": ({"conversations": [{"from": "human", "value": "2 + 4?"}, {"from": "assistant", "ground_truth": {"value": "6"}}]}, ["6"]),
    "Tulu": ({"messages": [{"role": "user", "content": "2 + 4?"}], "ground_truth": "6"}, ["6"]),
    "lm-eval": ({"doc": {}, "arguments": {"gen_args_0": {"arg_0": "2 + 4?"}}, "target": "6"}, ["6"]),
    "lm-eval's older samples": ({"arguments": [["2 + 4?", {"until": []}]], "target": "#### 6"}, ["6"]),
    "SYNTHETIC-1": ({"prompt": "2 + 4?", "verification_info": "{'ground_truth': '6'}"}, ["6"]),
    "OlympiadBench": ({"context": None, "question": "2 + 4?", "final_answer": ["6"], "solution": ["x"]}, ["6"]),
    "Alpaca": ({"instruction": "2 + 4?", "input": "", "output": "6"}, ["6"]),
    "NQ": ({"question": "2 + 4?", "answer": ["6", "six"]}, ["6", "six"]),
    "NQ of pandas": ({"question": "2 + 4?", "answer": "['6' 'six']"}, ["6", "six"]),
    "PopQA": ({"question": "2 + 4?", "possible_answers": '["6", "six"]'}, ["6", "six"]),
    "TriviaQA": ({"question": "2 + 4?", "answer": {"value": "6", "aliases": ["six", "6"], "type": "x"}}, ["6", "six"]),
    "MuSiQue": ({"question": "2 + 4?", "answer": "6", "answer_aliases": ["six"]}, ["6", "six"]),
    "TruthfulQA": ({"question": "2 + 4?", "best_answer": "6", "correct_answers": ["6", "six"]}, ["6", "six"]),
    "StrategyQA": ({"question": "2 + 4?", "answer": True}, ["yes", "true"]),
    "SciBench": ({"problem_text": "2 + 4?", "answer_latex": "$6$", "answer_number": "6", "unit": "m", "solution": ""}, ["6"]),
    "UGPhysics": ({"problem": "2 + 4?", "solution": "long", "answers": "6", "answer_type": "NV"}, ["6"]),
    "OpenThoughts": ({"problem": "2 + 4?", "deepseek_solution": "x", "ground_truth_solution": r"So \boxed{6}."}, ["6"]),
    "LiveBench": ({"question_id": "1", "task": "AMPS_Hard", "turns": ["2 + 4?"], "ground_truth": "6"}, ["6"]),
    "NaturalReasoning": ({"question": "2 + 4?", "reference_answer": "6", "responses": []}, ["6"]),
    "DeepMath": ({"question": "2 + 4?", "final_answer": "6", "r1_solution_1": "x"}, ["6"]),
    "s1K": ({"question": "2 + 4?", "solution": "6", "attempt": r"\boxed{6}", "metadata": "{}"}, ["6"]),
    "multimodal chat of text": ({"prompt": [{"role": "user", "content": [{"type": "text", "text": "2 + 4?"}]}], "answer": "6"}, ["6"]),
    "pandas' index": ({"": "0", "problem": "2 + 4?", "answer": "6"}, ["6"]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_layout_gives_the_question_and_every_right_answer(name: str):
    record, answers = PUBLISHED[name]
    assert first(record) == ("2 + 4?", answers)


CHOOSING: dict[str, dict[str, Any]] = {
    "MMLU": {"question": "2 + 4?", "choices": ["5", "6", "7"], "answer": 1},
    "MMLU of pandas": {"question": "2 + 4?", "choices": "['5' '6' '7']", "answer": "B"},
    "ARC": {"question": "2 + 4?", "choices": {"text": ["5", "6", "7"], "label": ["1", "2", "3"]}, "answerKey": "2"},
    "OpenBookQA": {"question_stem": "2 + 4?", "choices": {"text": ["5", "6", "7"], "label": ["A", "B", "C"]}, "answerKey": "B"},
    "ARC of AI2": {
        "question": {"stem": "2 + 4?", "choices": [{"text": text, "label": label} for text, label in zip("567", "ABC", strict=True)]},
        "answerKey": "B",
    },
    "MedQA": {"question": "2 + 4?", "options": {"A": "5", "B": "6", "C": "7"}, "answer": "6", "answer_idx": "B"},
    "AQuA": {"question": "2 + 4?", "options": ["A)5", "B)6", "C)7"], "rationale": "x", "correct": "B"},
    "C-Eval": {"question": "2 + 4?", "A": "5", "B": "6", "C": "7", "D": "", "answer": "B"},
    "BIG-bench": {"input": "2 + 4?", "target_scores": {"5": 0, "6": 1, "7": 0}},
    "Inspect": {"input": "2 + 4?", "choices": ["5", "6", "7"], "target": "B"},
    "HellaSwag": {"ctx": "2 + 4?", "endings": ["5", "6", "7"], "label": "1"},
    "MedMCQA": {"question": "2 + 4?", "opa": "5", "opb": "6", "opc": "7", "opd": None, "cop": 1},
    "MedQA with records": {"question": "2 + 4?", "options": [{"key": k, "value": v} for k, v in ("A5", "B6", "C7")], "answer_idx": "B"},
    "AGIEval": {"passage": None, "question": "2 + 4?", "options": ["(A)5", "(B)6", "(C)7"], "label": "B", "answer": None},
    "ARC of pandas": {
        "question": "2 + 4?",
        "choices": "{'text': array(['5', '6', '7'], dtype=object), 'label': array(['A', 'B', 'C'], dtype=object)}",
        "answerKey": "B",
    },
}


@pytest.mark.parametrize("name", CHOOSING)
def test_choices_are_shown_with_letters_of_which_one_is_right(name: str):
    assert first(CHOOSING[name]) == (f"2 + 4?\n\nA. 5\nB. 6\nC. 7{LETTERS}", ["B"])


def test_a_set_that_names_the_right_choice_first_is_shown_in_an_order_of_its_own():
    rows = [
        {"Question": f"{n} + 4?", "Correct Answer": str(n + 4), **{f"Incorrect Answer {k}": str(n + 4 + k) for k in (1, 2, 3)}}
        for n in range(60)
    ]
    items = read(*rows).items
    letters = [json.loads(item.answer)[0] for item in items]
    assert {letters.count(letter) > 5 for letter in "ABCD"} == {True}
    for n, (item, letter) in enumerate(zip(items, letters, strict=True)):
        assert f"{letter}. {n + 4}\n" in item.problem
    assert read(*rows).items == items


def test_stems_that_are_equal_are_different_problems_if_their_choices_are():
    rows = [{"question": "Which is true?", "choices": [a, b], "answer": 0} for a, b in (("x", "y"), ("u", "v"), ("x", "y"))]
    intake = read(*rows)
    assert (len(intake.items), intake.duplicates, intake.conflicts) == (2, 1, ())


def test_what_must_be_read_to_answer_is_part_of_the_problem():
    squad = {"context": "The jar holds 6.", "question": "How many?", "answers": {"text": ["6", "6"], "answer_start": [14, 14]}}
    assert first(squad) == ("The jar holds 6.\n\nHow many?", ["6"])
    assert first({"Body": "2 and 4.", "Question": "How many?", "Answer": 6.0}) == ("2 and 4.\n\nHow many?", ["6"])
    assert first({"instruction": "Add.", "input": "2 and 4", "output": "6"})[0] == "Add.\n\n2 and 4"


REFUSED = {
    "numbers in another column": (
        {"Question": "Mira has N_00 plums.", "Numbers": "3.0", "Equation": "N_00", "Answer": 3.0},
        "MAWPS: its questions have N_00",
    ),
    "encrypted": ({"problem": "AbCd==", "answer": "EfGh==", "canary": "x"}, "BrowseComp: its texts are encrypted"),
    "many right answers": ({"nums": [1, 2], "target": 3}, "Countdown: many answers are right"),
    "many right answers in verl": (
        {"prompt": "p", "reward_model": {"ground_truth": {"target": 3, "numbers": [1, 2]}}},
        "Countdown: many answers are right",
    ),
    "a passage in an unknown column": ({"story": "s", "question": "q", "answer": "x"}, "a column 'story' beside question and answer"),
    "programs": ({"prompt": "p", "entry_point": "f", "test": "t", "answer": "x"}, "HumanEval: its answers are programs"),
    "choices in unknown columns": ({"problem": "p", "answer": "x", "endings": ["a", "b"]}, "a column 'endings' beside problem and answer"),
    "nothing known": ({"a": 1}, "has no columns problem + answer or"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_wrong_in_silence_is_refused_in_one_line(name: str):
    record, words = REFUSED[name]
    with pytest.raises(UsageError) as refusal:
        read(record)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


BAD_CELLS = {
    "answers are true or false": {"problem": "p", "answer": True},
    "answers are dates or times": {"problem": "p", "answer": __import__("datetime").date(2020, 1, 2)},
    "answers are records with the fields value": {"problem": "p", "answer": {"value": "1"}},
    "answers are bytes that are not UTF-8": {"problem": "p", "answer": b"\xff"},
    "answers are no finite numbers": {"problem": "p", "answer": float("inf")},
    "answers are longer than 1,000": {"problem": "p", "answer": "x " * 600},
    "answers begin as a list in brackets": {"problem": "p", "answer": "['a' 'b' ... 'z']"},
    "rows have no answer": {"problem": "p", "answer": "[]"},
    "problems hold a part that is no text (image_url)": {
        "prompt": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
        "answer": "1",
    },
    "rows need a picture (column image)": {"question": "p", "answer": "1", "image": {"bytes": b"x"}},
    "answers are none of the choices": {"question": "p", "choices": ["a", "b"], "answer": 2},
    "answers fit several choices": {"question": "p", "choices": ["2", "1", "0"], "answer": "2"},
    "answers are 'proof'": {"problem": "p", "answer": "proof", "question_type": "proof"},
    "answers are solutions without a box": {"problem": "p", "solution": "First\nthen"},
}


@pytest.mark.parametrize("reason", BAD_CELLS)
def test_a_row_that_cannot_be_used_is_refused_with_its_number_and_the_reason_or_dropped_and_counted(reason: str):
    bad = BAD_CELLS[reason]
    with pytest.raises(DataError) as refusal:
        read(bad)
    assert f"FILE: 1 {reason}" in str(refusal.value) and "(row 0)" in str(refusal.value)
    assert str(refusal.value).endswith("or drop them with --skip-bad-rows")
    with pytest.raises(DataError, match="FILE has no row that can be used"):
        read(bad, skip=True)


def test_dropped_rows_are_counted_by_reason_and_the_others_keep_their_numbers():
    rows = [{"problem": f"p{n}", "answer": answer} for n, answer in enumerate(("1", None, "3", "", True))]
    intake = read(*rows, skip=True)
    assert [item.row for item in intake.items] == [0, 2]
    assert {reason.split(";")[0]: count for reason, count in intake.skipped.items()} == {
        "rows have no answer": 2,
        "answers are true or false": 1,
    }
    assert (intake.rows_read, intake.duplicates) == (5, 0)


def test_a_first_row_without_columns_is_a_bad_row_like_any_other():
    rows = ({"meta": "header"}, {"problem": "p", "answer": "1"}, {"question": "q", "answer": "2"})
    with pytest.raises(DataError, match=r"1 rows have none of the known columns \(row 0\); 1 rows have no problem \(row 2\)"):
        read(*rows)
    assert [item.problem for item in read(*rows, skip=True).items] == ["p"]


def test_what_is_not_shown_or_not_read_is_counted():
    rounds = [*CHAT, {"role": "assistant", "content": "5"}, {"role": "user", "content": "Sure?"}]
    intake = read({"prompt": rounds, "answer": "6", "level": "hard"})
    assert intake.unshown == {"system messages": 1, "earlier messages": 2} and intake.unread == ("level",)
    assert intake.counts()["unread_columns"] == ["level"]


def test_instructions_of_published_files_are_removed_from_files_of_ones_own():
    rows = [{"question": f"{wrapper.before}2 + {n}?{wrapper.after}", "answer": str(n)} for n, wrapper in enumerate(KNOWN_WRAPPERS)]
    assert [item.problem for item in read(*rows).items] == [f"2 + {n}?" for n in range(len(rows))]


def test_named_columns_bypass_the_table():
    mmlu = {"question": "2 + 4?", "choices": ["5", "6"], "answer": 1}
    intake = take_in([mmlu], "FILE", None, "question", "answer")
    assert (intake.layout, intake.items[0].answer) == ("named columns", "1")


def test_every_row_of_the_table_tells_how_its_answers_are_compared_or_why_they_are_not():
    for layout in LAYOUTS:
        assert layout.name and layout.problem
        assert layout.refused or layout.answer
        assert bool(layout.choices) == (layout.kind is AnswerKind.LETTERS)


FOLDER = Path(os.environ.get("ESPL_BENCH_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data") / "layouts" / "layouts"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="no test data: set ESPL_BENCH_TEST_DATA")
def test_no_layout_of_the_collection_is_read_without_its_answers():
    for path in sorted(FOLDER.iterdir()):
        intake = None
        with suppress(EsplError):
            intake = read(*find_files(path).records(), skip=True)
        for item in intake.items if intake else ():
            assert all(len(answer) < 20 for answer in json.loads(item.answer)), path.name


def test_a_sentence_that_asks_for_a_place_is_told_from_a_cue():
    asked = {
        "Give it in the form Answer: $Answer.": {AnswerPlace.LINE},
        'Put it on its own line after "Answer:".': {AnswerPlace.LINE},
        "End with 'Final answer: x'.": {AnswerPlace.LINE},
        "Write it as \\boxed{x}.": {AnswerPlace.BOX},
        "Say <answer> 7 </answer>": {AnswerPlace.TAGS},
        "Question: how many are left with 3?\nAnswer:": set(),
        "What is 2 + 4?": set(),
    }
    assert {text: places_asked(text) for text in asked} == asked
