import gc
import time

import pytest
from grading_fixtures import needs_data, rows

from espl_bench.grading import Extraction
from espl_bench.grading.boxes import last_box
from espl_bench.grading.extract import extract

BOXES = {
    "The answer is \\boxed{42}": "42",
    "\\boxed{ 42 }": "42",
    "\\fbox{42}": "42",
    "\\boxed {42}": "42",
    "\\boxed\n{42}": "42",
    "\\boxed 7": "7",
    "$\\boxed -7.5$ or so": "-7.5",
    "\\boxed{\\frac{1}{\\sqrt{2}}}": "\\frac{1}{\\sqrt{2}}",
    "\\boxed{1} then \\boxed{2}": "2",
    "\\boxed{1} then \\fbox{2}": "2",
    "\\boxed{\\boxed{5}}": "{5}",
    "\\boxed{1 + \\fbox{2}}": "1 + {2}",
    "\\boxed{\\{1, 2\\}}": "\\{1, 2\\}",
    "\\boxed{[0, 1\\}}": "[0, 1\\}",
    "\\boxed{\\left\\{ x \\right.} and }": "\\left\\{ x \\right.",
    "x \\\\\\boxed{3}": "3",
    "a slip: \\\\boxed{3}": "3",
    "put it into \\boxed or a box: \\boxed{4}": "4",
    "\\boxed{4} (that was \\boxedness, a word)": "4",
    "{ \\boxed{5}": "5",
    "} \\boxed{5} }": "5",
    "\\boxed{1\n\n+ 2}": "1\n\n+ 2",
    "A draft: \\boxed{1 + \n\nThe answer: \\boxed{5}": "5",
    "no box": None,
    "": None,
    "\\boxed{}": None,
    "\\boxed{ \n }": None,
    "\\boxed{42": None,
    "\\boxed{\\frac{1}{2}": None,
    "\\boxed{1} and then \\boxed{2": None,
    "\\boxed{1} and then \\boxed{": None,
    "\\boxed{1} and then \\boxed": None,
    "\\boxed{1} and then \\boxed \n": None,
    "\\boxed{1} and then \\fbox{\\text{two}": None,
    "\\boxed{1 + \\boxed{2}": None,
    "\\boxed{1\\}": None,
}


@pytest.mark.parametrize(("text", "answer"), BOXES.items())
def test_the_last_box(text: str, answer: str | None):
    assert extract(text, Extraction.BOXED).answer == answer


LINES = {
    "Answer: 42": "42",
    "answer : 42": "42",
    "**Answer:** 42": "42",
    "**Answer: 42**": "42",
    "## Final answer: $\\frac{1}{2}$": "$\\frac{1}{2}$",
    "The final answer is: 42": "42",
    "- Answer：42": "42",
    "Answer: 1\nNo.\nAnswer: 2\n": "2",
    "Answer: \\boxed{3}": "3",
    "Answer: 42\r\n": "42",
    "Answer: \\boxed{3": None,
    "Answer: 1\nNo.\nAnswer:\n": None,
    "Answer: 1\n\nAnswer:\n": "1",
    "\\textbf{Answer:} 42": "42",
    "\\textbf{Final answer}: 42": "42",
    "\\text{Answer: 42}": "42",
    "__Answer:__ 42": "42",
    "\u2705 Answer: 42": "42",
    '"Answer: 42"': "42",
    "2) **Answer:** 42": "42",
    "Ans. = 42": "42",
    "Answer -> 42": "42",
    "Your answer: A*": "A*",
    "**Answer: A***": "A",
    "Final Answer: The final answer is $42$. I hope it is correct.": "$42$.",
    "Answer: the answer is 42": "42",
    "So the answer is 42": "42",
    "Therefore, the final answer is: 42\nDone.": "42",
    "Answer: 41\nSo the answer is fine.": "41",
    "Q: What?\nA: 42": "42",
    "A: 42\nB: 43": None,
    "Answer: 42\nA: 43": "42",
    "Thus far the answer is unknown": None,
    "I answer: 42": None,
    "An answerer: 42": None,
    "42": None,
}


@pytest.mark.parametrize(("text", "answer"), LINES.items())
def test_the_last_answer_line(text: str, answer: str | None):
    assert extract(text, Extraction.ANSWER_LINE).answer == answer
    assert "boxed" in text or extract(text, Extraction.BOXED_OR_ANSWER_LINE).answer == answer
    assert "boxed" in text or extract(text, Extraction.BOXED).answer is None


def test_a_box_however_broken_goes_before_an_answer_line():
    for text, answer in {"\\boxed{1}\nAnswer: 2": "1", "\\boxed{1\nAnswer: 2": None, "Answer: 2\nsee \\boxed": None}.items():
        assert extract(text, Extraction.BOXED_OR_ANSWER_LINE).answer == answer
    assert extract("write \\boxed by hand\nAnswer: 2", Extraction.BOXED_OR_ANSWER_LINE).answer == "2"


THINKING = {
    "<think> \\boxed{1} </think> \\boxed{2}": "2",
    "hm \\boxed{1} </think> \\boxed{2}": "2",
    "<think>a</think> b <think>c</think> \\boxed{2}": "2",
    "<think> \\boxed{1} </think> done": None,
    "<think> \\boxed{1}": None,
    "<think>a</think> \\boxed{1} <think> hm": None,
    "\\boxed{1} </think>": None,
}


@pytest.mark.parametrize(("text", "answer"), THINKING.items())
def test_thinking_holds_no_answer(text: str, answer: str | None):
    assert extract(text, Extraction.BOXED).answer == answer


def test_anywhere_is_the_text_after_thinking():
    assert extract("<think>1</think>\n It is 2. ", Extraction.ANYWHERE).answer == "It is 2."
    assert extract(" \n", Extraction.ANYWHERE).answer is None


PIECES = [
    "\\boxed{",
    "\\boxed{}",
    "{",
    "}",
    "\\",
    "\\boxed ",
    "\n",
    " ",
    "\n\n",
    "answer",
    "Answer:",
    "\nAnswer: ",
    "<think>",
    "</think>",
    "*",
    "- ",
]


def cpu_seconds(text: str, extraction: Extraction) -> float:
    gc.disable()  # what it costs depends on the rest of the process
    try:
        began = time.process_time()
        extract(text, extraction)
        return time.process_time() - began
    finally:
        gc.enable()


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("extraction", Extraction)
def test_time_is_linear_in_the_text(piece: str, extraction: Extraction):
    took: list[float] = []
    for size in (100_000, 400_000):
        text = piece * (size // len(piece))
        took.append(min(cpu_seconds(text, extraction) for _ in range(3)))
    assert took[1] < 12 * took[0] + 0.1, "four times the text; sixteen times the time would be quadratic"


@needs_data
def test_boxes_of_another_project():
    for row in rows("boxed_extraction_cases.jsonl"):
        assert (last_box(row["text"]).answer or None) == (row["boxed"] or None), row["id"]
