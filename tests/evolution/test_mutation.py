"""Mutation, stage by stage: what is reflected on, and what becomes of what the editor says."""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_operators import (
    FAILED,
    GAP,
    LARGER,
    LIMITS,
    NEXT,
    RIGHT,
    SUM,
    WRONG,
    Answers,
    add,
    born,
    editor,
    group,
    mutated,
    problem,
    prompt,
    refused,
)

from espl_bench.evolution.operators.edits import Add, Modify
from espl_bench.evolution.operators.mutation import Critique, contrasts, count_votes, mutate
from espl_bench.evolution.operators.proposal import Birth
from espl_bench.types import Lineage, Outcome, Rejected


def test_only_problems_with_contrast_are_reflected_on():
    groups = [group(1, RIGHT, RIGHT), group(2, RIGHT, WRONG), group(3, WRONG, WRONG), group(4, Outcome.NO_ANSWER, RIGHT)]
    assert [case.problem.id for case in contrasts(groups, 4)] == ["train/2", "train/4"]


def test_failures_of_ours_are_neither_right_nor_wrong():
    assert contrasts([group(1, RIGHT, FAILED), group(2, RIGHT, Outcome.TIMEOUT)], 4) == []
    [case] = contrasts([group(1, RIGHT, FAILED, WRONG)], 4)
    assert [attempt.outcome for attempt in case.rollouts] == [RIGHT, WRONG]


def test_groups_of_one_problem_are_pooled():
    [case] = contrasts([group(1, RIGHT, RIGHT), group(1, WRONG, WRONG)], 4)
    assert (case.problem.id, len(case.rollouts)) == ("train/1", 4)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([RIGHT, WRONG, FAILED, Outcome.NO_ANSWER]), min_size=1, max_size=16), st.integers(2, 8))
def test_attempts_are_bounded_and_balanced(outcomes: list[Outcome], limit: int):
    right = sum(outcome is RIGHT for outcome in outcomes)
    wrong = sum(outcome in (WRONG, Outcome.NO_ANSWER) for outcome in outcomes)
    cases = contrasts([group(1, *outcomes)], limit)
    assert bool(cases) == (right > 0 and wrong > 0)
    for attempts in (case.rollouts for case in cases):
        rights = sum(attempt.outcome is RIGHT for attempt in attempts)
        assert len(attempts) == min(limit, right + wrong), "no place is wasted"
        assert 0 < rights < len(attempts)
        assert rights == right or len(attempts) - rights == wrong or abs(2 * rights - limit) <= 1, "the rarer kind is taken whole"


def test_a_limit_of_one_attempt_still_shows_both_sides():
    [case] = contrasts([group(1, RIGHT), group(1, WRONG)], 1)
    assert {attempt.outcome for attempt in case.rollouts} == {RIGHT, WRONG}


# Mutation: the four stages


def test_the_four_stages_one_call_each():
    groups = [group(1, RIGHT, WRONG), group(2, WRONG, RIGHT, WRONG), group(3, WRONG, WRONG)]
    result, client = mutated(groups, prompt(0, SUM), critique=[f"[{add(LARGER)}]"])
    child = born(result)
    assert client.calls == [5, 2, 1], "five summaries, two critiques, one aggregation"
    assert child.principles == (SUM, LARGER)
    assert child.lineage == Lineage("mutation", (0,), born_step=5)
    assert (child.rating.mu, child.rating.sigma) == (25.0, pytest.approx(math.sqrt(16 + 1)))


def test_each_stage_sees_what_the_one_before_said():
    _, client = mutated([group(1, WRONG, RIGHT)], prompt(0, SUM), summarise=["first", "second"], critique=[f"[{add(LARGER)}]"])
    assert client.prompts["summarise"] == [
        "summarise 3 1 dax 5 2 = ? attempt : dax larger 3 5 = 5 1 2 = 1",
        "summarise 3 1 dax 5 2 = ? attempt : dax smaller 3 5 = 5 1 2 = 0",
    ], "right ones first"
    assert [seen.replace("<|unk|>", "").split("problem")[0] for seen in client.prompts["critique"]] == [
        f"critique principles : [G0] {SUM} "
    ]
    assert "truth : 5 8 right :" in client.prompts["critique"][0]
    assert client.prompts["aggregate"] == [f"aggregate principles : [G0] {SUM} added : 1 [G1] {LARGER}"]


def test_votes_of_several_problems_are_counted():
    groups = [group(number, RIGHT, WRONG) for number in (1, 2, 3)]
    critiques = [f"[{add(LARGER)}]", f"[{add(GAP)}, {add(LARGER)}]", f"[{add(LARGER)}, {add(LARGER)}]"]
    result, client = mutated(groups, critique=critiques)
    assert client.prompts["aggregate"] == [f"aggregate principles : none . added : 3 [G0] {LARGER} 1 [G1] {GAP}"]
    assert born(result).principles == (LARGER, GAP)


def test_counting_votes_keeps_first_mentions_first_and_drops_what_stands_already():
    critiques = [
        Critique(problem(1), (Add(LARGER), Modify(0, GAP))),
        Critique(problem(2), (Add(SUM), Add(LARGER), Add(LARGER, "again"))),
        Critique(problem(3), (Modify(0, GAP), Modify(0, GAP))),
    ]
    added, changes = count_votes((SUM,), critiques)
    assert [(p.index, p.principle, p.votes) for p in added] == [(1, LARGER, 2)]
    assert [(p.index, p.principle, p.votes) for p in changes] == [(0, GAP, 2)]


def test_one_problem_has_one_vote_for_a_text():
    added, _ = count_votes((), [Critique(problem(1), (Add(LARGER, "for one reason"), Add(LARGER, "for another")))])
    assert [proposal.votes for proposal in added] == [1]


def test_aggregation_may_reword_and_merge_what_stands_and_what_is_new():
    merge = f'{{"op":"merge","ids":["G0","G1"],"principle":"{LARGER}"}}'
    result, _ = mutated([group(1, RIGHT, WRONG)], prompt(0, GAP, SUM), critique=[f"[{add(NEXT)}]"], aggregate=[f"[{merge}]"])
    assert born(result).principles == (LARGER, NEXT), "G0 and G1 became one; the addition is G2"
    modify = f'{{"op":"modify","id":"G1","principle":"{GAP}"}}'
    result, _ = mutated([group(1, RIGHT, WRONG)], prompt(0, SUM), critique=[f"[{add(LARGER)}]"], aggregate=[f"[{modify}]"])
    assert born(result).principles == (SUM, GAP)


def test_a_change_is_made_by_the_aggregation_or_not_at_all():
    modify = f'{{"op":"modify","id":"G0","principle":"{LARGER}"}}'
    result, client = mutated([group(1, RIGHT, WRONG)], prompt(0, GAP), critique=[f"[{modify}]"], aggregate=[f"[{modify}]"])
    assert client.prompts["aggregate"] == [f"aggregate principles : [G0] {GAP} changes : 1 [G0] {LARGER}"]
    assert born(result).principles == (LARGER,)
    result, _ = mutated([group(1, RIGHT, WRONG)], prompt(0, GAP), critique=[f"[{modify}]"], aggregate=["[ ]"])
    assert refused(result)[0] == "unchanged"


def test_every_edit_of_a_child_has_its_evidence():
    merge = f'{{"op":"merge","ids":["G0","G1"],"principle":"{LARGER}","evidence":"same"}}'
    result, _ = mutated([group(7, RIGHT, WRONG)], prompt(0, GAP), critique=[f"[{add(LARGER, '3 7 dax 5 2')}]"], aggregate=[f"[{merge}]"])
    first, second = born(result).evidence
    assert (first.op, first.ids, first.principle, first.source, first.reason) == ("add", (), LARGER, "train/7", "3 7 dax 5 2")
    assert (second.op, second.ids, second.principle, second.source, second.reason) == ("merge", (0, 1), LARGER, "aggregation", "same")


def test_a_critique_beyond_its_number_of_edits_is_cut():
    many = ", ".join(add(f"{operator} minus") for operator in ("dax", "fep", "zup", "tig"))
    result, _ = mutated([group(1, RIGHT, WRONG)], critique=[f"[{many}]"])
    assert born(result).principles == ("dax minus", "fep minus")


def test_one_broken_critique_does_not_silence_the_others():
    groups = [group(number, RIGHT, WRONG) for number in (1, 2)]
    result, _ = mutated(groups, critique=["I cannot help with that", f"[{add(LARGER)}]"])
    assert born(result).principles == (LARGER,)


REJECTIONS = {
    "no_contrast": ([group(1, RIGHT, RIGHT)], {}, "none of 1 problems had both right and wrong rollouts"),
    "no_edits": ([group(1, RIGHT, WRONG)], {"critique": ["[ ]"]}, ""),
    "unparseable": (
        [group(1, RIGHT, WRONG)],
        {"critique": ["Sorry,\nno."]},
        "critique of train/1: no complete JSON object in: 'Sorry, no.'",
    ),
    "unchanged": ([group(1, RIGHT, WRONG)], {"critique": [f"[{add(SUM)}]"]}, "left the parent's principles as they were"),
}


@pytest.mark.parametrize("reason", REJECTIONS)
def test_a_mutation_that_comes_to_nothing_says_why(reason: str):
    groups, texts, detail = REJECTIONS[reason]
    result, _ = mutated(groups, prompt(0, SUM), **texts)
    found, said = refused(result)
    assert found == reason
    assert detail in said
    assert isinstance(result, Rejected) and (result.origin, result.parent_ids) == ("mutation", (0,))


def test_an_aggregation_that_cannot_be_read_is_unparseable():
    result, _ = mutated([group(1, RIGHT, WRONG)], critique=[f"[{add(LARGER)}]"], aggregate=["well"])
    assert refused(result) == ("unparseable", "aggregation: no complete JSON object in: 'well'")
    assert isinstance(result, Rejected) and result.written == ("well",), "what was written is kept in full"


def test_without_contrast_the_editor_is_not_asked():
    _, client = mutated([group(1, RIGHT, RIGHT)])
    assert client.calls == []


def test_edits_that_are_all_refused_leave_their_reasons():
    result, _ = mutated([group(1, RIGHT, WRONG)], prompt(0, SUM), critique=['[{"op":"remove","id":"G0"}]'])
    reason, detail = refused(result)
    assert (reason, "remove is not allowed here" in detail) == ("unparseable", True)


def test_reflections_of_one_step_share_no_draw_and_another_step_draws_anew():
    groups = [group(number, RIGHT, WRONG) for number in (1, 2)]
    clients = [Answers({"critique": [f"[{add(LARGER)}]"], "aggregate": ["[ ]"]}) for _ in range(3)]
    for client, step in zip(clients, (4, 4, 5), strict=True):
        asyncio.run(mutate(Birth("mutation", (prompt(0),), step + 1), groups, editor(client, step), LIMITS))
    first, again, later = (client.seeds for client in clients)
    assert first == again and len(set(first)) == len(first) == 7
    assert not set(first) & set(later)
