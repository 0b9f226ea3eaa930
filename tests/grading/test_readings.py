r"""What the reading of answers finds equal and what it does not: ways to write the same, and near misses.

The pairs are in `readings/`: gold answer and answer, separated by a tab; `by_kind.tsv`, `short_answers.tsv` and
`several_boxes.tsv`, whose answers are whole responses, also say which they are.
"""

import sys
from pathlib import Path

import pytest

from espl_bench.grading.boxes import last_box
from espl_bench.grading.comparison import Tolerance
from espl_bench.grading.verdicts import decide, shown
from espl_bench.grading.words import same_words

READINGS = Path(__file__).parent / "readings"
Pair = tuple[str, str]


def pairs(name: str) -> list[Pair]:
    rows = (line.split("\t") for line in (READINGS / f"{name}.tsv").read_text(encoding="utf-8").splitlines())
    return [(gold, answer) for gold, answer in rows]


def kinds(name: str) -> dict[str, list[tuple[str, str, str]]]:
    """Read the rows of each kind: ``same`` or ``other``, gold answer, answer."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for line in (READINGS / f"{name}.tsv").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            found[line[2:]] = []
        else:
            want, gold, answer = line.split("\t")
            found[[*found][-1]].append((want, gold, answer))
    return found


EQUAL = pairs("written_alike")
DIFFERENT = pairs("near_misses")
BY_KIND = kinds("by_kind")
SHORT_ANSWERS = kinds("short_answers")
BOXES = kinds("several_boxes")


def test_ways_to_write_the_same():
    assert [pair for pair in EQUAL if decide(*pair, Tolerance()).equal is not True] == []


def test_near_misses():
    assert [pair for pair in DIFFERENT if decide(*pair, Tolerance()).equal is not False] == []


@pytest.mark.parametrize("kind", BY_KIND)
def test_kinds(kind: str):
    def equal(gold: str, answer: str) -> bool | None:
        return decide(gold, last_box(f"\\boxed{{{answer}}}").answer or "", Tolerance()).equal

    assert [row for row in BY_KIND[kind] if equal(row[1], row[2]) is not (row[0] == "same")] == []


@pytest.mark.parametrize("kind", BOXES)
def test_boxes(kind: str):
    def equal(gold: str, response: str) -> bool | None:
        return decide(gold, last_box(response.replace("\\n", "\n")).answer or "", Tolerance()).equal

    assert [row for row in BOXES[kind] if equal(row[1], row[2]) is not (row[0] == "same")] == []


@pytest.mark.parametrize("kind", SHORT_ANSWERS)
def test_short_answers(kind: str):
    assert [row for row in SHORT_ANSWERS[kind] if same_words(row[2], row[1]) is not (row[0] == "same")] == []


def test_everything_is_itself_and_its_reason_is_one_line():
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)  # as in a grading process
    for gold, answer in EQUAL + DIFFERENT:
        assert decide(gold, gold, Tolerance()).equal is not False or "=" in gold, gold
        why = decide(gold, answer, Tolerance()).why
        assert why == "" or "\n" not in why
        assert shown(answer)
    sys.set_int_max_str_digits(limit)


def test_what_the_options_allow():
    assert decide("\\{1,2\\}", "(1,2)", Tolerance()).equal is False
    assert decide("\\{1,2\\}", "(1,2)", Tolerance(strict=False)).equal is True
    assert decide("[0,1)", "0 \\le x < 1", Tolerance()).equal is True
    assert decide("[0,1)", "0 \\le x < 1", Tolerance(relations_for_sets=False)).equal is False
    assert decide("\\frac{1}{3}", "0.33", Tolerance(places=2)).equal is True


def test_a_text_that_is_many_times_longer_says_more():
    assert same_words("**the answer**", "answer") and same_words("word " * 3_000, "word " * 3_000)
    assert not same_words("*" * 5_000 + "answer", "answer")
