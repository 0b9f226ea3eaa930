import subprocess
import sys
from collections import Counter

import pytest
from espl_envs.rulebook.chains import Chain, Solution
from espl_envs.rulebook.env import RulebookEnv, hidden_meanings
from espl_envs.rulebook.meanings import MEANINGS, OPERATORS
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_S

from espl_bench.errors import UsageError
from espl_bench.types import Outcome, Problem, Split

ITEM = Problem("test/0", Split.TEST, 0, "3 8 dax 5 2 fep 1 0 = ?", "6 8", gold="answer 6 8")


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ("answer 6 8", Outcome.CORRECT),
        ("answer 68", Outcome.CORRECT),
        ("dax larger 3 5 = 5 8 2 = 8 ; fep sum 5 1 = 6 8 0 = 8 ; answer 6 8", Outcome.CORRECT),
        ("answer\n6\n8\n", Outcome.CORRECT),
        ("answer 3 3 ; answer 6 8", Outcome.CORRECT),
        ("answer 6 8 ; answer 3 3", Outcome.WRONG),
        ("answer 6 8 8", Outcome.WRONG),
        ("answer 6", Outcome.WRONG),
        ("answer 8 6", Outcome.WRONG),
        ("answer 6 8 .", Outcome.WRONG),
        ("answer 06 8", Outcome.WRONG),
        ("answer 6 8.0", Outcome.WRONG),
        ("answer ６ 8", Outcome.WRONG),
        ("answer six eight", Outcome.WRONG),
        ("the answer is 6 8", Outcome.WRONG),
        ("answer", Outcome.NO_ANSWER),
        ("6 8", Outcome.NO_ANSWER),
        ("answer: 6 8", Outcome.NO_ANSWER),
        ("Answer 6 8", Outcome.NO_ANSWER),
        ("answer 6 8 answer", Outcome.NO_ANSWER),
        ("", Outcome.NO_ANSWER),
        ("   \n\t ", Outcome.NO_ANSWER),
    ],
)
def test_grading(response: str, outcome: Outcome):
    verdict = RulebookEnv().grade(ITEM, response)
    assert verdict.outcome is outcome
    assert verdict.reward == float(outcome is Outcome.CORRECT)


@given(st.text(max_size=200))
def test_no_text_breaks_the_grader(text: str):
    assert RulebookEnv().grade(ITEM, text).outcome in (Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER)


@pytest.mark.parametrize("world", [-1, 1.5, "3", None, True])
def test_a_world_is_a_whole_number_from_nought(world: object):
    with pytest.raises(UsageError, match="rulebook: world must be a whole number from 0"):
        RulebookEnv(world=world)  # pyright: ignore[reportArgumentType]


def test_worlds_differ_and_no_operator_has_a_favourite_meaning():
    worlds = [hidden_meanings(world) for world in range(50)]
    assert len({tuple(world.items()) for world in worlds}) == 50
    assert all(tuple(world) == OPERATORS for world in worlds)
    assert all(len({world[operator] for world in worlds}) > 5 for operator in OPERATORS)


def test_another_world_has_other_questions_and_other_truths():
    items = [[RulebookEnv(world).problem(Split.TEST, index) for index in range(100)] for world in (0, 1)]
    assert not {item.question for item in items[0]} & {item.question for item in items[1]}


def test_published_items_do_not_change():
    assert RulebookEnv(0).problem(Split.TEST, 0).question == "0 9 pim 3 4 mib 5 6 nef 9 5 = ?"
    assert RulebookEnv(0).problem(Split.TRAIN, 17).question == "6 2 rab 2 9 = ?"


def test_items_do_not_depend_on_the_process():
    script = (
        "from espl_envs.rulebook.env import RulebookEnv; from espl_bench.types import Split;"
        "print(*(RulebookEnv(5).problem(split, i).question for split in Split for i in range(20)), sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S, env={"PYTHONHASHSEED": "7"}
    )
    here = [RulebookEnv(5).problem(split, index).question for split in Split for index in range(20)]
    assert done.stdout.strip().split("|") == here


def test_answers_are_those_of_the_hidden_meanings():
    for world in (0, 9):
        env = RulebookEnv(world)
        meanings = hidden_meanings(world)
        for split in Split:
            for index in range(env.size(split)):
                problem = env.problem(split, index)
                tens, ones, *words = problem.question.removesuffix(" = ?").split()
                value = [int(tens), int(ones)]
                for operator, *digits in zip(words[::3], words[1::3], words[2::3], strict=True):
                    rule = MEANINGS[meanings[operator]]
                    value = [rule(left, int(right)) for left, right in zip(value, digits, strict=True)]
                assert problem.answer == f"{value[0]} {value[1]}"


def test_chains_have_the_lengths_of_their_split():
    env = RulebookEnv()
    lengths = {split: Counter((len(env.problem(split, i).question.split()) - 4) // 3 for i in range(env.size(split))) for split in Split}
    assert lengths == {Split.TRAIN: {1: 128, 2: 64, 3: 64}, Split.VALIDATION: {1: 32, 2: 16, 3: 16}, Split.TEST: {3: 100}}


def test_training_shows_every_operator_and_no_question_twice():
    env = RulebookEnv()
    questions = [env.problem(Split.TRAIN, index).question for index in range(env.size(Split.TRAIN))]
    assert len(set(questions)) == len(questions)
    assert {word for question in questions for word in question.split()} >= set(OPERATORS)


def test_a_constant_answer_is_poor():
    answers = Counter(RulebookEnv().problem(Split.TEST, index).answer for index in range(100))
    assert answers.most_common(1)[0][1] <= 10


# Chains


def test_a_chain_is_worked_out_from_left_to_right_place_by_place():
    solution = Chain(((3, 8), (5, 2), (1, 0)), ("dax", "fep")).solve({"dax": "larger", "fep": "sum"})
    assert solution.text == "dax larger 3 5 = 5 8 2 = 8 ; fep sum 5 1 = 6 8 0 = 8 ; answer 6 8"
    assert solution.summary == "dax larger fep sum"
    assert solution.answer == "6 8"


def test_a_slip_is_carried_on():
    chain = Chain(((3, 8), (5, 2), (1, 0)), ("dax", "fep"))
    slipped = Solution(chain, ("larger", "sum"), ((5, 7), (6, 7)))
    assert slipped.text == "dax larger 3 5 = 5 8 2 = 7 ; fep sum 5 1 = 6 7 0 = 7 ; answer 6 7"


@pytest.mark.parametrize(
    ("meaning", "pair", "value"),
    [
        ("larger", (3, 5), 5),
        ("smaller", (3, 5), 3),
        ("sum", (7, 8), 5),
        ("minus", (8, 3), 5),
        ("minus", (3, 8), 5),
        ("blend", (3, 8), 9),
        ("double", (7, 1), 4),
        ("reverse", (3, 8), 5),
        ("reverse", (8, 3), 5),
        ("triple", (4, 7), 2),
        ("opposite", (3, 8), 6),
        ("next", (9, 1), 0),
    ],
)
def test_meanings(meaning: str, pair: tuple[int, int], value: int):
    assert MEANINGS[meaning](*pair) == value


def test_every_meaning_stays_within_the_digits():
    for function in MEANINGS.values():
        assert {function(a, b) for a in range(10) for b in range(10)} <= set(range(10))


def coincidence(first: str, second: str) -> float:
    """The share of the 100 pairs of digits on which two meanings agree; two places agree with its square."""
    pairs = [(a, b) for a in range(10) for b in range(10)]
    return sum(MEANINGS[first](a, b) == MEANINGS[second](a, b) for a, b in pairs) / len(pairs)


def test_different_meanings_rarely_agree():
    names = list(MEANINGS)
    pairs = [coincidence(a, b) for place, a in enumerate(names) for b in names[:place]]
    assert max(pairs) <= 0.2 and sum(pairs) / len(pairs) < 0.11
    assert sum(share**2 for share in pairs) / len(pairs) < 0.014, "on two digits"
    assert coincidence("sum", "sum") == 1.0


def test_no_meaning_ignores_its_left_operand():
    """Else whatever was believed of the operators before it would seem proven."""
    for function in MEANINGS.values():
        assert any(function(a, b) != function(0, b) for a in range(10) for b in range(10))
