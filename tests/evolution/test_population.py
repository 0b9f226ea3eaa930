import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espl_bench.evolution.population import Population
from espl_bench.evolution.rating import rate_by_means
from espl_bench.types import ROOT_ORIGIN, Lineage, Rating, SystemPrompt

CHILD = Lineage("mutation", (0,), born_step=1)


def grown(count, max_size=10):
    population = Population.start(("root",), max_size)
    for number in range(1, count):
        lineage = Lineage("mutation", (number - 1,), number)
        population = population.admit((f"p{number}",), Rating(25.0 + number, 5.0), lineage)
    return population


def test_it_starts_with_the_root_alone():
    population = Population.start(("a", "b"), 3)
    root = SystemPrompt(0, ("a", "b"), Rating(25.0, 25.0 / 3.0), Lineage(ROOT_ORIGIN, (), 0), matches=0)
    assert population == Population((root,), next_id=1, max_size=3)


def test_a_child_gets_the_next_id_and_is_the_newest():
    parent = Population.start((), 3)
    population = parent.admit(("new",), Rating(30.0, 2.0), CHILD)
    assert population.newest == SystemPrompt(1, ("new",), Rating(30.0, 2.0), CHILD)
    assert population.members[0] == parent.newest
    assert len(parent.members) == 1


def test_the_oldest_leaves_first_and_ids_are_not_reused():
    population = grown(5, max_size=3)
    assert [member.id for member in population.members] == [2, 3, 4]
    assert population.next_id == 5


def test_in_a_population_of_one_the_child_replaces_the_parent():
    population = grown(4, max_size=1)
    assert [member.id for member in population.members] == [3]
    assert population.newest.lineage.parent_ids == (2,)


def test_the_window_is_the_newest_oldest_first():
    population = grown(5)
    assert [member.id for member in population.window(2)] == [3, 4]
    assert population.window(99) == population.members
    with pytest.raises(ValueError, match="window"):
        population.window(0)


def test_get_finds_the_living_only():
    population = grown(4, max_size=2)
    assert population.get(3).principles == ("p3",)
    with pytest.raises(KeyError, match="0"):
        population.get(0)


def test_rating_moves_the_ranked_and_counts_their_match():
    population = grown(3)
    rated = population.rate({0: 0.9, 2: 0.1})
    ratings = rate_by_means({member.id: member.rating for member in population.members}, {0: 0.9, 2: 0.1})
    assert {member.id: member.rating for member in rated.members} == ratings
    assert [member.matches for member in rated.members] == [1, 0, 1]
    assert rated.get(1) == population.get(1)
    assert rated.rate({0: 0.5, 1: 0.5}).get(0).matches == 2


def test_the_tie_is_passed_on():
    population = grown(2)
    assert population.rate({0: 0.5, 1: 0.45}, tie=0.1) != population.rate({0: 0.5, 1: 0.45}, tie=0.01)


def test_one_prompt_alone_is_no_ranking():
    population = grown(2)
    assert population.rate({1: 0.5}) == population


def test_means_of_the_evicted_are_refused():
    with pytest.raises(ValueError, match=r"\[0\]"):
        grown(3, max_size=2).rate({0: 0.4, 1: 0.5})


def test_a_parent_that_was_never_born_is_refused():
    with pytest.raises(ValueError, match="never born"):
        grown(2).admit(("x",), Rating(), Lineage("crossover", (0, 2), 1))


def test_best_rated_looks_at_the_lower_bound_and_prefers_the_older():
    population = Population.start((), 9)  # 25 - 2 * 8.33 = 8.33
    for rating in (Rating(24.0, 5.0), Rating(30.0, 8.0), Rating(20.0, 3.0)):  # 14, 14, 14
        population = population.admit((), rating, CHILD)
    assert population.best_rated(2.0).id == 1
    assert population.best_rated(0.0).id == 2
    assert population.best_rated(3.0).id == 3


@pytest.mark.parametrize("change", [{"members": ()}, {"next_id": 2}, {"max_size": 2}, {"members": tuple(reversed(grown(3).members))}])
def test_impossible_populations_are_refused(change):
    with pytest.raises(ValueError, match="prompt"):
        dataclasses.replace(grown(3), **change)


FINITE = st.floats(allow_nan=False, allow_infinity=False)
PROMPTS = st.lists(
    st.tuples(
        st.lists(st.text(max_size=20), max_size=3).map(tuple),
        st.builds(Rating, FINITE, FINITE),
        st.builds(Lineage, st.sampled_from(["root", "mutation", "crossover", "theirs"]), st.just((0,)), st.integers(0, 10**6)),
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(PROMPTS, st.integers(1, 4))
def test_json_round_trip_is_exact(children, max_size):
    population = Population.start(("root",), max_size)
    for principles, rating, lineage in children:
        population = population.admit(principles, rating, lineage)
    record = population.to_json()
    assert Population.from_json(json.loads(json.dumps(record))) == population
    assert Population.from_json(record).to_json() == record


def test_json_is_plain():
    record = grown(1).to_json()
    assert record == {
        "members": [
            {
                "id": 0,
                "principles": ["root"],
                "rating": {"mu": 25.0, "sigma": 25.0 / 3.0},
                "lineage": {"origin": "root", "parent_ids": [], "born_step": 0},
                "matches": 0,
            }
        ],
        "next_id": 1,
        "max_size": 10,
        "history": {"by_prompt": {}, "recent": {}},
        "credit": {},
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [({"next_id": "many"}, "next_id"), ({"members": [{"id": 0}]}, r"members\.0"), ({"members": []}, "cannot hold 0")],
)
def test_damaged_json_is_named_in_one_line(change, words):
    with pytest.raises(ValueError, match=words) as caught:
        Population.from_json({**grown(2).to_json(), **change})
    assert "\n" not in str(caught.value)
