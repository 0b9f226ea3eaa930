"""What a run may choose about mutation: lengths, rejections, what a reflection is shown."""

import asyncio
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_operators import (
    FAILED,
    LARGER,
    LIMITS,
    RIGHT,
    SUM,
    WRONG,
    A,
    Answers,
    B,
    C,
    add,
    born,
    crossed,
    editor,
    group,
    mutated,
    problem,
    prompt,
    refused,
    ruled,
    view,
    wins,
)

from espl_bench.errors import UsageError
from espl_bench.evolution.operators.editor import require_shown, summary_context
from espl_bench.evolution.operators.mutation import MUTATION
from espl_bench.evolution.operators.proposal import EditLimits, ReflectionRules
from espl_bench.prompts.dialect import BUILT_IN, Dialect, TemplateName
from espl_bench.seeding import rng_for

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
