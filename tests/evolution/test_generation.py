"""A generation: both operators on one step's rollouts; templates and editors."""

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_engine import ScriptedEngine
from scripted_operators import (
    CHAT,
    FAILED,
    GAP,
    LARGER,
    LIMITS,
    RIGHT,
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
    problem,
    prompt,
    trajectory,
    wins,
)

from espl_bench.evolution.operators.editor import Editor
from espl_bench.evolution.operators.mutation import mutate
from espl_bench.evolution.operators.proposal import Birth
from espl_bench.evolution.population import Population
from espl_bench.evolve import evolve, mean_rewards
from espl_bench.method import ESPL
from espl_bench.prompts.dialect import Dialect, TemplateName
from espl_bench.seeding import rng_for
from espl_bench.types import TrajectoryGroup


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
