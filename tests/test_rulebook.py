import random
import subprocess
import sys
from collections import Counter

import pytest
from espl_envs.rulebook.chains import Chain, Solution
from espl_envs.rulebook.env import RulebookEnv, hidden_meanings
from espl_envs.rulebook.meanings import DESCRIPTIONS, MEANINGS, SYMBOLS, coincidence, principle
from hypothesis import given
from hypothesis import strategies as st

from espl_bench.errors import UsageError
from espl_bench.types import Outcome, Problem, Split

SEVEN = Problem("test/0", Split.TEST, 0, "3 @ 5 # 2 = ?", "7", gold="answer 7")


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        ("answer 7", Outcome.CORRECT),
        ("@ larger 3 5 = 5 ; # sum 5 2 = 7 ; answer 7", Outcome.CORRECT),
        ("answer\n7\n", Outcome.CORRECT),
        ("answer 3 ; answer 7", Outcome.CORRECT),
        ("answer 7 ; answer 3", Outcome.WRONG),
        ("answer 7 7", Outcome.WRONG),
        ("answer 7 .", Outcome.WRONG),
        ("answer 07", Outcome.WRONG),
        ("answer 7.0", Outcome.WRONG),
        ("answer ７", Outcome.WRONG),
        ("answer 8", Outcome.WRONG),
        ("answer seven", Outcome.WRONG),
        ("the answer is 7", Outcome.WRONG),
        ("answer", Outcome.NO_ANSWER),
        ("7", Outcome.NO_ANSWER),
        ("answer: 7", Outcome.NO_ANSWER),
        ("Answer 7", Outcome.NO_ANSWER),
        ("answer 7 answer", Outcome.NO_ANSWER),
        ("", Outcome.NO_ANSWER),
        ("   \n\t ", Outcome.NO_ANSWER),
    ],
)
def test_grading(response: str, outcome: Outcome):
    verdict = RulebookEnv().grade(SEVEN, response)
    assert verdict.outcome is outcome
    assert verdict.reward == float(outcome is Outcome.CORRECT)


@given(st.text(max_size=200))
def test_no_text_breaks_the_grader(text: str):
    assert RulebookEnv().grade(SEVEN, text).outcome in (Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER)


@pytest.mark.parametrize("world", [-1, 1.5, "3", None, True])
def test_a_world_is_a_whole_number_from_nought(world: object):
    with pytest.raises(UsageError, match="rulebook: world must be a whole number from 0"):
        RulebookEnv(world=world)  # pyright: ignore[reportArgumentType]


def test_worlds_differ_and_give_every_operator_a_meaning_of_its_own():
    worlds = [hidden_meanings(world) for world in range(50)]
    assert len({tuple(world.items()) for world in worlds}) == 50
    for world in worlds:
        assert tuple(world) == SYMBOLS
        assert len(set(world.values())) == len(SYMBOLS)
    assert all(len({world[symbol] for world in worlds}) > 5 for symbol in SYMBOLS), "no symbol has a favourite"


def test_another_world_has_other_questions_and_other_truths():
    items = [[RulebookEnv(world).problem(Split.TEST, index) for index in range(100)] for world in (0, 1)]
    assert not {item.question for item in items[0]} & {item.question for item in items[1]}


def test_published_items_do_not_change():
    assert RulebookEnv(0).problem(Split.TEST, 0).question == "0 ~ 9 % 3 & 4 = ?"
    assert RulebookEnv(0).problem(Split.TRAIN, 17).question == "1 ~ 0 & 1 = ?"


def test_items_do_not_depend_on_the_process():
    script = (
        "from espl_envs.rulebook.env import RulebookEnv; from espl_bench.types import Split;"
        "print(*(RulebookEnv(5).problem(split, i).question for split in Split for i in range(20)), sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, env={"PYTHONHASHSEED": "7"}
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
                words = problem.question.split()
                value = int(words[0])
                for symbol, digit in zip(words[1:-2:2], words[2:-2:2], strict=True):
                    value = MEANINGS[meanings[symbol]](value, int(digit))
                assert problem.answer == str(value)


def test_chains_have_the_lengths_of_their_split():
    env = RulebookEnv()
    lengths = {split: Counter(len(env.problem(split, i).question.split()) // 2 - 1 for i in range(env.size(split))) for split in Split}
    assert lengths == {Split.TRAIN: {1: 128, 2: 128}, Split.VALIDATION: {1: 32, 2: 32}, Split.TEST: {3: 100}}


def test_a_constant_answer_is_poor():
    answers = Counter(RulebookEnv().problem(Split.TEST, index).answer for index in range(100))
    assert answers.most_common(1)[0][1] <= 30


# Chains


def test_a_chain_is_worked_out_from_left_to_right():
    solution = Chain((3, 5, 2), ("@", "#")).solve({"@": "larger", "#": "sum"})
    assert solution.text == "@ larger 3 5 = 5 ; # sum 5 2 = 7 ; answer 7"
    assert solution.summary == "@ larger 5 # sum 7"
    assert (solution.answer, solution.clean) == (7, True)


@pytest.mark.parametrize(
    ("meaning", "pair", "value"),
    [
        ("larger", (3, 5), 5),
        ("smaller", (3, 5), 3),
        ("sum", (7, 8), 5),
        ("product", (7, 8), 6),
        ("gap", (3, 8), 5),
        ("middle", (3, 8), 5),
        ("opposite", (3, 8), 6),
        ("double", (7, 1), 4),
        ("next", (1, 9), 0),
        ("blend", (3, 8), 9),
    ],
)
def test_meanings(meaning: str, pair: tuple[int, int], value: int):
    assert MEANINGS[meaning](*pair) == value


def test_every_meaning_stays_within_the_digits_and_is_described():
    assert MEANINGS.keys() == DESCRIPTIONS.keys()
    for function in MEANINGS.values():
        assert {function(a, b) for a in range(10) for b in range(10)} <= set(range(10))


def test_different_meanings_rarely_agree():
    names = list(MEANINGS)
    pairs = [coincidence(a, b) for place, a in enumerate(names) for b in names[:place]]
    assert max(pairs) <= 0.3 and sum(pairs) / len(pairs) < 0.12
    assert coincidence("sum", "sum") == 1.0


@given(st.lists(st.integers(0, 9), min_size=2, max_size=9), st.randoms(use_true_random=False))
def test_a_solution_is_clean_until_a_result_is_changed(digits: list[int], rng: random.Random):
    symbols = tuple(rng.sample(SYMBOLS, len(digits) - 1))
    meanings = dict(zip(SYMBOLS, rng.sample(tuple(MEANINGS), len(SYMBOLS)), strict=True))
    solution = Chain(tuple(digits), symbols).solve(meanings)
    assert solution.clean
    slips = list(solution.results)
    slips[-1] = (slips[-1] + 1) % 10
    assert not Solution(solution.chain, solution.used, tuple(slips)).clean


def test_a_principle_states_one_meaning():
    assert principle("@", "larger") == "@ larger digit ."
