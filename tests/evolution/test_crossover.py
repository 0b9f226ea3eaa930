"""Crossover: who won which problem, who breeds, and what the child is."""

import math
from dataclasses import replace

import pytest
from scripted_operators import FAILED, GAP, LARGER, LIMITS, RIGHT, SUM, WRONG, A, B, C, add, born, crossed, group, refused, wins

from espl_bench.evolution.operators.crossover import score_matrix, unique_wins
from espl_bench.evolution.operators.proposal import ReflectionRules
from espl_bench.types import Lineage, Rejected


def test_the_score_matrix_pools_a_prompt_that_was_sampled_twice():
    groups = [
        group(1, RIGHT, WRONG),
        group(1, RIGHT, RIGHT),
        group(2, FAILED, RIGHT),
        group(1, WRONG, prompt_id=1),
        group(2, RIGHT, prompt_id=1),
    ]
    assert score_matrix(groups) == {0: {"train/1": 0.75, "train/2": 1.0}, 1: {"train/1": 0.0, "train/2": 1.0}}


def test_a_problem_that_was_not_graded_under_some_prompt_has_no_winner():
    groups = [group(1, FAILED, FAILED), group(2, RIGHT), group(1, RIGHT, prompt_id=1), group(2, WRONG, prompt_id=1)]
    assert score_matrix(groups) == {0: {"train/2": 1.0}, 1: {"train/2": 0.0}}
    assert unique_wins(score_matrix(groups)) == {0: ["train/2"], 1: []}


def test_only_unique_winners_win():
    scores = {0: {"p": 0.5, "q": 1.0, "r": 0.1 + 0.2}, 1: {"p": 0.5, "q": 0.5, "r": 0.3}, 2: {"p": 0.1, "q": 0.0, "r": 0.0}}
    assert unique_wins(scores) == {0: ["q"], 1: [], 2: []}, "rounding makes no winner"


def test_parents_are_the_best_and_whoever_won_something():
    result, client = crossed([A, B, C], wins(p1="A", p2="B", p3="AC", p4="B"), f"[{add(SUM, 'set B')}]")
    child = born(result)
    assert child.lineage == Lineage("crossover", (4, 7), born_step=5)
    assert child.principles == (LARGER, SUM)
    assert client.prompts["crossover"] == [
        f"crossover A {LARGER} A won 3 1 dax 5 2 = ? B {SUM} B won 3 2 dax 5 2 = ? B won 3 4 dax 5 2 = ?"
    ]
    [evidence] = child.evidence
    assert (evidence.op, evidence.principle, evidence.source, evidence.reason) == ("add", SUM, "crossover", "set B")


def test_the_childs_rating_weighs_its_parents_by_their_precision():
    child = born(crossed([A, B, C], wins(p1="A", p2="B", p3="C"), f"[{add(SUM)}]")[0])
    weights = [1 / 9, 1 / 16, 1 / 25]
    assert child.rating.mu == pytest.approx((30 / 9 + 20 / 16 + 25 / 25) / sum(weights))
    assert child.rating.sigma == pytest.approx(math.sqrt(1 / sum(weights) + 1))
    assert child.lineage.parent_ids == (4, 7, 9)


@pytest.mark.parametrize("won", [{"p1": "A", "p2": "AB"}, {"p1": "B", "p2": "C"}, {"p1": "ABC"}, {"p1": ""}])
def test_without_a_win_of_the_best_and_of_another_there_is_no_rival(won: dict):
    result, client = crossed([A, B, C], wins(**won), "[ ]")
    assert refused(result) == ("no_rival", "no problem was won by the best and another")
    assert client.calls == [], "and no call"


def test_set_a_can_be_changed_and_shortened():
    modify = f'{{"op":"modify","id":"G0","principle":"{GAP}"}}'
    assert born(crossed([A, B, C], wins(p1="A", p2="B"), f"[{modify}]")[0]).principles == (GAP,)
    assert born(crossed([A, B, C], wins(p1="A", p2="B"), '[{"op":"remove","id":"G0"}]')[0]).principles == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [("no", "unparseable"), ("[ ]", "no_edits"), (f"[{add(LARGER)}]", "unchanged"), (f"[{add('very ' * 40)}]", "no_edits")],
)
def test_a_crossover_that_comes_to_nothing_says_why(text: str, reason: str):
    result, _ = crossed([A, B, C], wins(p1="A", p2="B"), text, replace(LIMITS, rules=ReflectionRules(word_limit="every_edit")))
    assert refused(result)[0] == reason
    assert isinstance(result, Rejected) and (result.origin, result.parent_ids) == ("crossover", (4, 7))
