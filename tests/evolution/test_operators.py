"""Mutation and crossover, stage by stage, with an editor that answers what a test tells it to."""

import asyncio
import itertools
import math
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_engine import ScriptedEngine, make_chat, spell

from espl_bench.errors import UsageError
from espl_bench.evolution.operators.crossover import cross, score_matrix, unique_wins
from espl_bench.evolution.operators.editor import Editor, require_shown, summary_context
from espl_bench.evolution.operators.edits import Add, Modify
from espl_bench.evolution.operators.mutation import MUTATION, Critique, contrasts, count_votes, mutate
from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Birth, Child, EditLimits, ReflectionRules
from espl_bench.evolution.population import Population
from espl_bench.evolve import evolve, mean_rewards
from espl_bench.method import ESPL
from espl_bench.prompts.dialect import BUILT_IN, Dialect, TemplateName
from espl_bench.seeding import rng_for
from espl_bench.types import (
    ROOT_ORIGIN,
    Completion,
    Lineage,
    Outcome,
    Problem,
    Rating,
    Rejected,
    Split,
    StopReason,
    SystemPrompt,
    Trajectory,
    TrajectoryGroup,
    Turn,
)

CHAT = make_chat()
LIMITS = EditLimits(max_edits=2, max_words=32, attempts=4, sigma_growth=1.0)
RIGHT, WRONG, FAILED = Outcome.CORRECT, Outcome.WRONG, Outcome.ERROR
LARGER, SUM, GAP, NEXT = "dax larger", "fep sum", "dax minus", "zup next"


def problem(number: int) -> Problem:
    return Problem(f"train/{number}", Split.TRAIN, number, f"3 {number} dax 5 2 = ?", "5 8", gold="answer 5 8")


def trajectory(outcome: Outcome, number: int, prompt_id: int = 0, sample: int = 0, text: str = "") -> Trajectory:
    said = text or f"dax {'larger' if outcome is RIGHT else 'smaller'} 3 5 = 5 {number} 2 = {sample}"
    tokens = spell(CHAT, said)
    turn = Turn((1,), Completion(tokens, (0.0,) * len(tokens), said, StopReason.STOP))
    return Trajectory(problem(number), prompt_id, sample, (turn,), float(outcome is RIGHT), outcome)


def group(number: int, *outcomes: Outcome, prompt_id: int = 0) -> TrajectoryGroup:
    rollouts = tuple(trajectory(outcome, number, prompt_id, sample) for sample, outcome in enumerate(outcomes))
    return TrajectoryGroup(problem(number), prompt_id, rollouts)


def prompt(prompt_id: int, *principles: str, mu: float = 25.0, sigma: float = 4.0) -> SystemPrompt:
    return SystemPrompt(prompt_id, principles, Rating(mu, sigma), Lineage(ROOT_ORIGIN))


EMPTY = prompt(0)


@dataclass
class Answers:
    """A sampling client that says the given texts in order, the last of each kind again and again."""

    texts: dict[str, list[str]]
    prompts: dict[str, list[str]] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    async def sample(self, requests):
        self.calls.append(len(requests))
        self.seeds.extend(request.seed for request in requests)
        return [self._answer(CHAT.decode(request.prompt_T)) for request in requests]

    def _answer(self, shown: str) -> Completion:
        kind = shown.split()[0]
        self.prompts.setdefault(kind, []).append(shown)
        texts = self.texts.get(kind, [f"summary {len(self.prompts[kind])}"])
        text = texts[min(len(self.prompts[kind]), len(texts)) - 1]
        return Completion((0,), (0.0,), text, StopReason.STOP)


def editor(client, step: int = 4) -> Editor:
    return Editor(client, CHAT, Dialect.load("compact"), run_seed=0, step=step, temperature=1.0, max_tokens=64)


def add(text: str, evidence: str = "") -> str:
    return f'{{"op":"add","principle":"{text}","evidence":"{evidence}"}}'


def mutated(groups, parent: SystemPrompt = EMPTY, **texts: list[str]) -> tuple[Child | Rejected, Answers]:
    client = Answers({"aggregate": ["[ ]"]} | texts)
    return asyncio.run(mutate(Birth("mutation", (parent,), 5), groups, editor(client), LIMITS)), client


def view(prompts, groups) -> StepView:
    """Step 5 as an operator sees it."""
    members = tuple(sorted(prompts, key=lambda prompt: prompt.id))
    return StepView(5, tuple(prompts), tuple(groups), Population(members, members[-1].id + 1, len(members)))


def crossed(prompts, groups, text: str, limits: EditLimits = LIMITS) -> tuple[Child | Rejected, Answers]:
    client = Answers({"crossover": [text]})
    return asyncio.run(cross("crossover", view(prompts, groups), editor(client), limits)), client


def ruled(groups, rules: ReflectionRules, parent: SystemPrompt = EMPTY, **texts: list[str]) -> tuple[Child | Rejected, Answers]:
    """A mutation under other rules than the default ones."""
    client = Answers({"aggregate": ["[ ]"]} | texts)
    return asyncio.run(mutate(Birth("mutation", (parent,), 5), groups, editor(client), replace(LIMITS, rules=rules))), client


def refused(result: Child | Rejected) -> tuple[str, str]:
    assert isinstance(result, Rejected)
    assert (result.step, "\n" in result.detail) == (5, False)
    return result.reason, result.detail


def born(result: Child | Rejected) -> Child:
    assert isinstance(result, Child)
    return result


# Mutation: which rollouts are reflected on


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


# Mutation: what a run may choose

LONG = " ".join([LARGER] * 20)
MODIFIED = '{"op":"modify","id":"G%d","principle":"%s"}'
CONTRAST = [group(1, RIGHT, WRONG)]


def test_a_verbose_critique_is_shortened_by_the_aggregation_and_not_lost():
    result, client = mutated(CONTRAST, critique=[f"[{add(LONG)}]"], aggregate=[f"[{MODIFIED % (0, LARGER)}]"])
    assert LONG in client.prompts["aggregate"][0], "the limit is asked of a critique, and not enforced"
    assert born(result).principles == (LARGER,)


def test_what_the_aggregation_leaves_too_long_does_not_join_and_the_record_says_so():
    result, _ = mutated(CONTRAST, critique=[f"[{add(LONG)}]"])
    reason, detail = refused(result)
    assert reason == "too_long" and "an addition of 40 words, more than 32: 'dax larger dax" in detail
    result, _ = mutated(CONTRAST, prompt(0, SUM), critique=[f"[{add(LONG)}, {add(LARGER)}]"])
    child = born(result)
    assert child.principles == (SUM, LARGER)
    dropped = child.evidence[-1]
    assert (dropped.op, dropped.ids, dropped.principle, dropped.source) == ("remove", (1,), LONG, "word limit")
    assert "40 words, more than 32" in dropped.reason


def test_an_aggregation_that_writes_too_much_is_not_obeyed():
    result, _ = mutated(CONTRAST, prompt(0, SUM), critique=[f"[{add(LARGER)}]"], aggregate=[f"[{MODIFIED % (0, LONG)}]"])
    assert born(result).principles == (SUM, LARGER)


def test_a_long_principle_that_stood_before_stays():
    result, _ = mutated(CONTRAST, prompt(0, LONG), critique=[f"[{add(LARGER)}]"])
    assert born(result).principles == (LONG, LARGER)


def test_a_word_limit_is_enforced_where_it_is_said_to_be():
    everywhere, nowhere = ReflectionRules(word_limit="every_edit"), ReflectionRules(word_limit="nowhere")
    result, _ = ruled(CONTRAST, everywhere, critique=[f"[{add(LONG)}]"])
    reason, detail = refused(result)
    assert reason == "unparseable" and "add with a principle of 40 words, more than 32" in detail
    assert born(ruled(CONTRAST, nowhere, critique=[f"[{add(LONG)}]"])[0]).principles == (LONG,)
    written = ruled(CONTRAST, nowhere, prompt(0, SUM), critique=[f"[{add(LARGER)}]"], aggregate=[f"[{MODIFIED % (0, LONG)}]"])
    assert born(written[0]).principles == (LONG, LARGER)
    assert born(crossed([A, B, C], wins(p1="A", p2="B"), f"[{add(LONG)}]")[0]).principles == (LARGER, LONG)


def test_an_aggregation_in_every_iteration_needs_neither_contrast_nor_proposals():
    always = ReflectionRules(aggregation="always")
    reworded = [f"[{MODIFIED % (0, LARGER)}]"]
    result, client = ruled([group(1, RIGHT, RIGHT)], always, prompt(0, SUM), aggregate=reworded)
    assert born(result).principles == (LARGER,) and client.calls == [1]
    result, client = ruled(CONTRAST, always, prompt(0, SUM), critique=["[ ]"], aggregate=reworded)
    assert born(result).principles == (LARGER,) and client.calls == [2, 1, 1]
    assert refused(ruled([group(1, RIGHT, RIGHT)], always, prompt(0, SUM))[0])[0] == "unchanged"


def test_an_unchanged_child_may_join_unless_it_says_nothing():
    admitted = ReflectionRules(aggregation="always", unchanged_child="admit")
    child = born(ruled([group(1, RIGHT, RIGHT)], admitted, prompt(0, SUM))[0])
    assert (child.principles, child.rating.sigma) == ((SUM,), pytest.approx(math.sqrt(16 + 1)))
    assert refused(ruled([group(1, RIGHT, RIGHT)], admitted)[0])[0] == "unchanged", "the empty prompt stays alone"
    repeated = crossed([A, B, C], wins(p1="A", p2="B"), f"[{add(LARGER)}]", replace(LIMITS, rules=admitted))
    assert born(repeated[0]).principles == (LARGER,)


def test_an_unreadable_aggregation_may_keep_the_additions():
    kept = ReflectionRules(unreadable_aggregation="keep_additions")
    child = born(ruled(CONTRAST, kept, prompt(0, SUM), critique=[f"[{add(LARGER)}]"], aggregate=["well"])[0])
    assert child.principles == (SUM, LARGER)
    assert "unreadable: no complete JSON object in: 'well'" in [evidence.reason for evidence in child.evidence]


def test_a_summary_is_shown_what_the_rules_say():
    parent = prompt(0, SUM)
    attempt, principles, verdict = (
        ruled(CONTRAST, ReflectionRules(summary_shows=shows), parent, critique=["[ ]"])[1].prompts["summarise"]
        for shows in ("attempt", "principles", "verdict")
    )
    assert not any(SUM in text for text in attempt) and all(f"[G0] {SUM}" in text for text in [*principles, *verdict])
    assert not any("truth" in text for text in [*attempt, *principles])
    assert [f"{grade} . truth : 5 8 attempt" in text for grade, text in zip(("right", "wrong"), verdict, strict=True)] == [True, True]


def test_a_dialect_that_does_not_show_it_is_refused(tmp_path: Path):
    shutil.copytree(BUILT_IN / "compact", tmp_path / "own")
    dialect = Dialect.load(str(tmp_path / "own"))
    for shows in ("attempt", "principles", "verdict"):
        require_shown(dialect, EditLimits(rules=ReflectionRules(summary_shows=shows)))
    (tmp_path / "own" / "summary.jinja").write_text("{{ question }} {{ response }}")
    require_shown(Dialect.load(str(tmp_path / "own")), EditLimits())
    for shows in ("principles", "verdict"):
        with pytest.raises(UsageError, match=f"summary.jinja does not show what summary_shows {shows} asks for"):
            require_shown(Dialect.load(str(tmp_path / "own")), EditLimits(rules=ReflectionRules(summary_shows=shows)))


def test_the_best_place_of_a_prompt_is_reflected_on_alone_if_so_chosen():
    first, second = [group(1, WRONG, WRONG), group(2, RIGHT, WRONG)], [group(1, RIGHT, WRONG), group(2, RIGHT, RIGHT)]
    step = view([prompt(0, SUM)], [*first, *second])
    assert step.best_slot() == (prompt(0, SUM), tuple(second))
    asked = {}
    for reflect_on in ("prompt", "slot"):
        client = Answers({"critique": ["[ ]"]})
        limits = replace(LIMITS, attempts=9, rules=ReflectionRules(reflect_on=reflect_on))
        asyncio.run(MUTATION.propose(step, editor(client), limits, rng_for(0, "operators", 4)))
        asked[reflect_on] = client.calls
    assert asked == {"prompt": [8, 2], "slot": [2, 1]}, "pooled: 4 attempts at both problems; the slot: 2 at one"


def test_the_best_place_may_be_of_another_prompt_than_the_best_of_all_rollouts():
    better, worse = prompt(1, LARGER), prompt(2, SUM)
    groups = [group(1, RIGHT, RIGHT, prompt_id=1), group(1, RIGHT, RIGHT, WRONG, prompt_id=2), group(1, RIGHT, WRONG, WRONG, prompt_id=1)]
    assert view([better, worse], groups).best_slot() == (better, (groups[0],))
    tied = [group(1, RIGHT, WRONG, prompt_id=2), group(1, RIGHT, WRONG, prompt_id=1), group(1, FAILED, prompt_id=1)]
    assert view([better, worse], tied).best_slot()[0] == better, "of equals the better prompt's"


def test_the_editor_is_sampled_as_the_run_says():
    class Asked(Answers):
        async def sample(self, requests):
            self.nuclei = [request.top_p for request in requests]
            return await super().sample(requests)

    client = Asked({})
    asyncio.run(replace(editor(client), top_p=0.95).write(TemplateName.SUMMARY, [summary_context(problem(1), "said")]))
    assert client.nuclei == [0.95]


# Crossover

A, B, C = prompt(4, LARGER, mu=30.0, sigma=3.0), prompt(7, SUM, mu=20.0, sigma=4.0), prompt(9, GAP, mu=25.0, sigma=5.0)


def wins(**by_problem: str) -> list[TrajectoryGroup]:
    """Groups of A, B and C on problems p1, p2 …; the letters named solve it always, the others never."""
    return [
        group(int(name[1:]), *([RIGHT, RIGHT] if letter in letters else [WRONG, WRONG]), prompt_id=each.id)
        for letter, each in (("A", A), ("B", B), ("C", C))
        for name, letters in by_problem.items()
    ]


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


# A generation


def test_failures_of_ours_enter_no_mean_and_a_prompt_that_only_failed_has_none():
    groups = [group(1, RIGHT, FAILED), group(2, WRONG, WRONG), group(1, FAILED, FAILED, prompt_id=1)]
    assert mean_rewards(groups) == {0: pytest.approx(1 / 3)}


class NoTrial:
    """No rule of these tests rolls anything out."""

    async def roll_out(self, principles, problems=None):
        raise AssertionError(f"nothing was to be rolled out, and {principles} was")


def generation(groups, population: Population, text: str, crossover_prob: float = 1.0):
    client = Answers({"critique": [text], "aggregate": ["[ ]"], "crossover": [text]})
    limits = replace(LIMITS, crossover_prob=crossover_prob)
    return asyncio.run(evolve(ESPL, population, groups, editor(client), limits, 0.01, rng_for(0, "operators", 4), NoTrial())), client


def test_both_operators_breed_from_the_best_of_the_batch_and_children_are_admitted_after():
    population = Population((A, B, C), next_id=10, max_size=4)
    groups = wins(p1="A", p2="B", p3="B")
    groups[4] = group(2, RIGHT, WRONG, prompt_id=B.id)
    found, client = generation(groups, population, f"[{add(LARGER)}]")
    assert found.means == {4: pytest.approx(1 / 3), 7: 0.5, 9: 0.0}
    (first, _), (second, _) = found.born
    assert (first.id, first.lineage.parent_ids) == (10, (7,)), "B is the best of the batch, however it was rated"
    assert (second.id, second.lineage.parent_ids) == (11, (7, 4))
    assert [member.id for member in found.population.members] == [7, 9, 10, 11], "the oldest left"
    assert found.ratings.keys() == {4, 7, 9}
    assert all("crossover A fep sum" in seen for seen in client.prompts["crossover"])


def test_of_equal_means_the_higher_rated_breeds():
    population = Population((A, B, C), next_id=10, max_size=4)
    found, _ = generation([group(1, RIGHT, WRONG, prompt_id=each.id) for each in (B, A)], population, f"[{add(GAP)}]", 0.0)
    assert [child.lineage.parent_ids for child, _ in found.born] == [(4,)]


def test_if_everything_failed_nothing_happens():
    population = Population((A, B), next_id=10, max_size=4)
    found, client = generation([group(1, FAILED, prompt_id=4)], population, "[ ]")
    assert (found.population, found.means, found.born, found.rejected, client.calls) == (population, {}, (), (), [])


def test_crossover_happens_as_often_as_its_probability():
    population = Population((A, B), next_id=10, max_size=4)
    tried = 0
    for step in range(200):
        client = Answers({"critique": ["[ ]"], "crossover": ["[ ]"]})
        groups = [group(1, RIGHT, prompt_id=4), group(1, WRONG, prompt_id=7)]
        limits, rng = replace(LIMITS, crossover_prob=0.3), rng_for(0, "operators", step)
        found = asyncio.run(evolve(ESPL, population, groups, editor(client), limits, 0.01, rng, NoTrial()))
        tried += sum(child.origin == "crossover" for child in found.rejected)
    assert 40 <= tried <= 80


# Dialects and editors


def test_every_stage_goes_through_its_own_template(tmp_path: Path):
    stages = {TemplateName.SUMMARY: "1", TemplateName.CRITIQUE: "2", TemplateName.AGGREGATE: "3", TemplateName.CROSSOVER: "4"}
    for name, word in stages.items():
        (tmp_path / f"{name}.jinja").write_text(word)
    client = Answers({})
    write = Editor(client, CHAT, Dialect(tmp_path), 0, 0, 1.0, 8)
    for name in stages:
        asyncio.run(write.write(name, [{}]))
    assert client.prompts == {word: [word] for word in stages.values()}
    assert len(set(client.seeds)) == 4, "stages share no draw"


def test_an_editor_without_work_makes_no_call():
    client = Answers({})
    assert asyncio.run(editor(client).write(TemplateName.SUMMARY, [])) == []
    assert client.calls == []


def test_the_scripted_editor_finds_the_meaning_that_right_attempts_share():
    right = trajectory(RIGHT, 3, text="dax larger 3 5 = 5 3 2 = 3 ; answer 5 3")
    wrong = trajectory(WRONG, 3, text="dax minus 3 5 = 8 3 2 = 1 ; answer 8 1")
    groups = [TrajectoryGroup(problem(3), 0, (right, wrong))]

    async def mutation():
        client = await ScriptedEngine().reference()
        return await mutate(Birth("mutation", (prompt(0),), 5), groups, editor(client), LIMITS)

    assert born(asyncio.run(mutation())).principles == (LARGER,)


def test_more_parents_than_letters_are_cut_to_the_letters():
    prompts = [prompt(number, f"{number}") for number in range(30)]
    groups = [
        group(number, RIGHT if each.id == number else WRONG, prompt_id=each.id) for each, number in itertools.product(prompts, range(30))
    ]
    result, client = crossed(prompts, groups, f"[{add(GAP)}]")
    assert client.prompts["crossover"][0].count(" won ") == 26
    assert len(born(result).lineage.parent_ids) == 26
