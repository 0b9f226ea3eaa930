import re
from dataclasses import astuple

import pytest
from espl_envs.market.customs import customs_of
from espl_envs.market.env import MarketEnv

from espl_bench.environment.checker import check_environment
from espl_bench.errors import UsageError
from espl_bench.types import Outcome, Split

WORLDS = range(20)


def test_it_keeps_the_contract():
    check_environment(MarketEnv(), twin=MarketEnv())


@pytest.mark.parametrize("split", Split)
def test_every_solution_is_right_and_states_its_customs(split: Split):
    env = MarketEnv(world=3)
    pairs = zip(astuple(customs_of(3)), customs_of(3).sentences(), strict=True)
    openings = [sentence.split(f" {number} ")[0] for number, sentence in pairs]
    for index in range(env.size(split)):
        problem = env.problem(split, index)
        stated = [opening for opening in openings if opening.lower() in problem.gold.lower()]
        assert len(stated) == env.levels[split][index % 4]
        assert int(problem.answer) >= 0
        assert env.grade(problem, problem.gold).outcome is Outcome.CORRECT
        assert env.grade(problem, f"The answer is \\boxed{{{int(problem.answer) + 1}}}.").outcome is Outcome.WRONG


def test_no_question_is_in_two_splits_and_none_states_a_custom():
    env = MarketEnv()
    questions = {split: {env.problem(split, index).question for index in range(env.size(split))} for split in Split}
    assert not questions[Split.TRAIN] & (questions[Split.VALIDATION] | questions[Split.TEST])
    assert not questions[Split.VALIDATION] & questions[Split.TEST]
    assert len(questions[Split.TEST]) >= 95
    assert not any(re.search(r"brock is|crate holds|tally is|times", text) for texts in questions.values() for text in texts)


def test_the_answers_depend_on_the_world():
    answers = {world: [MarketEnv(world=world).problem(Split.TEST, index).answer for index in range(20)] for world in WORLDS}
    assert len({tuple(each) for each in answers.values()}) == len(WORLDS)
    assert len({customs_of(world) for world in WORLDS}) >= 15


def test_no_world_has_a_measure_that_a_model_may_know():
    assert not {customs_of(world).tally for world in range(200)} & {10, 12}


def test_an_answer_needs_no_box_unless_one_is_asked_for():
    problem = MarketEnv().problem(Split.TEST, 0)
    text = f"Two and two are four, so in all that is {problem.answer}."
    assert MarketEnv().grade(problem, text).outcome is Outcome.CORRECT
    assert MarketEnv().grade(problem, f"{text} No, {int(problem.answer) + 1}.").outcome is Outcome.WRONG
    assert MarketEnv().grade(problem, "I cannot say.").outcome is Outcome.NO_ANSWER
    assert MarketEnv(extraction="boxed").grade(problem, text).outcome is Outcome.NO_ANSWER
    with pytest.raises(UsageError, match="unknown extraction 'boxd'; did you mean 'boxed'"):
        MarketEnv(extraction="boxd")


@pytest.mark.parametrize("world", [-1, 1.5, "3", True])
def test_a_world_is_a_whole_number(world: object):
    with pytest.raises(UsageError, match="arithmetic-words: world must be a whole number from 0"):
        MarketEnv(world=world)  # pyright: ignore[reportArgumentType]
