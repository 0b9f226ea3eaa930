"""What rollouts say about single principles."""

import json
from collections.abc import Sequence

import pytest

from espl_bench.evolution.credit import Credit, add_credit, forget
from espl_bench.evolution.population import Population
from espl_bench.types import ROOT_ORIGIN, Lineage, Outcome, Problem, Rating, Split, SystemPrompt, Trajectory, TrajectoryGroup

DAX, FEP, GAP = "dax larger", "fep sum", "dax minus"
QUESTIONS = {"p": "3 1 dax 5 2 = ?", "q": "1 1 fep 5 2 = ?", "r": "3 1 wug 5 2 = ?"}


def prompt(prompt_id: int, *principles: str) -> SystemPrompt:
    return SystemPrompt(prompt_id, principles, Rating(), Lineage(ROOT_ORIGIN))


def group(problem_id: str, prompt_id: int, rewards: Sequence[float], outcome: Outcome = Outcome.WRONG) -> TrajectoryGroup:
    problem = Problem(problem_id, Split.TRAIN, 0, QUESTIONS[problem_id], "a", gold="a")
    return TrajectoryGroup(problem, prompt_id, tuple(Trajectory(problem, prompt_id, i, (), r, outcome) for i, r in enumerate(rewards)))


def test_a_principle_is_credited_by_prompts_with_and_without_it_on_the_same_problems():
    prompts = [prompt(1, DAX, FEP), prompt(2, FEP)]
    groups = [group("p", 1, [0.0, 0.0]), group("p", 2, [1.0, 0.0]), group("q", 1, [1.0]), group("q", 2, [1.0])]
    found = add_credit({}, prompts, groups)
    assert found == {DAX: Credit(2, 0.0, 2, 1.0, better=0, worse=1)}, "both state the other principle, so nothing tells them apart"
    again = add_credit(found, prompts, [group("p", 1, [1.0]), group("p", 2, [0.0])])
    assert again[DAX] == Credit(3, 1.0, 3, 1.0, better=1, worse=1)
    assert again[DAX].support == 0
    assert again[DAX].told() == "earned 1 in 3 rollouts with it, 1 in 3 without it; alone right on 1 problems, alone wrong on 1"


def test_a_problem_says_nothing_of_a_principle_that_shares_no_telling_word_with_it():
    prompts = [prompt(1, DAX), prompt(2)]
    groups = [group(name, number, [float(number == 1)]) for name in "pqr" for number in (1, 2)]
    assert add_credit({}, prompts, groups)[DAX].rollouts_with == 1, "of three problems one is about it"
    common = [prompt(1, "always wug"), prompt(2)]
    every = [group("r", number, [0.0]) for number in (1, 2)]
    assert set(add_credit({}, common, every)) == {"always wug"}, "a single problem's words all tell"


def test_rollouts_that_could_not_be_graded_say_nothing():
    groups = [group("p", 1, [0.0], Outcome.ERROR), group("p", 2, [1.0])]
    assert add_credit({}, [prompt(1, DAX), prompt(2)], groups) == {}


def test_evidence_lives_as_long_as_a_prompt_that_states_the_principle():
    credit = {DAX: Credit(1), GAP: Credit(2)}
    assert forget(credit, [prompt(0, DAX, GAP)], [prompt(1, GAP)]) == {GAP: Credit(2)}
    assert forget(credit, [], [prompt(1, GAP)]) == credit


def test_a_population_keeps_the_evidence_and_records_of_older_versions_have_none():
    population = Population((prompt(0, DAX), prompt(1, GAP)), next_id=2, max_size=2)
    population = population.record([group("p", 0, [0.0]), group("p", 1, [1.0])])
    assert {text: credit.support for text, credit in population.credit.items()} == {DAX: -1, GAP: 1}
    record = json.loads(json.dumps(population.to_json()))
    assert Population.from_json(record) == population
    assert set(population.admit((GAP,), Rating(), Lineage("mutation", (1,), 1)).credit) == {GAP}
    del record["credit"]
    assert Population.from_json(record).credit == {}


@pytest.mark.parametrize("question", ["", "1 2 3", "= ?"])
def test_a_question_without_words_bears_on_nothing(question: str):
    problem = Problem("p", Split.TRAIN, 0, question, "a", gold="a")
    groups = [TrajectoryGroup(problem, number, (Trajectory(problem, number, 0, (), 1.0, Outcome.CORRECT),)) for number in (1, 2)]
    assert add_credit({}, [prompt(1, DAX), prompt(2)], groups) == {}
