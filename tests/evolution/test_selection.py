from collections import Counter

import numpy as np
import pytest

from espl_bench.evolution.history import History
from espl_bench.evolution.selection import Lucb, Softmax, TopPlusRandom, Ucb, Uniform, find_selector
from espl_bench.registry import SELECTORS, names
from espl_bench.seeding import rng_for
from espl_bench.types import ROOT_ORIGIN, Lineage, Rating, SystemPrompt


def prompts(*ratings):
    lineage = Lineage(ROOT_ORIGIN)
    return tuple(SystemPrompt(i, (f"p{i}",), Rating(*rating), lineage) for i, rating in enumerate(ratings))


# mu + 2 sigma: 31, 34, 29, 36, 27;  mu - 2 sigma: 27, 22, 25, 4, 19
WINDOW = prompts((29, 1), (28, 3), (27, 1), (20, 8), (23, 2))


def ids(selector, window=WINDOW, num_prompts=3, seed=0):
    return [prompt.id for prompt in selector.select(window, History(), num_prompts, rng_for(seed, "selection"))]


def test_the_names_are_the_published_ones():
    assert names(SELECTORS) == ["lucb", "moving_average", "niches", "pareto", "softmax", "thompson", "top_plus_random", "ucb", "uniform"]


@pytest.mark.parametrize("name", names(SELECTORS))
@pytest.mark.parametrize("num_prompts", [2, 3, 4, 5])
def test_exactly_as_many_distinct_prompts_and_the_newest_among_them(name, num_prompts):
    for seed in range(20):
        chosen = ids(find_selector(name), num_prompts=num_prompts, seed=seed)
        assert len(set(chosen)) == len(chosen) == num_prompts
        assert 4 in chosen


@pytest.mark.parametrize(
    ("name", "best"), [("top_plus_random", {3}), ("ucb", {3}), ("lucb", {0}), ("softmax", {1, 3}), ("uniform", {*range(5)})]
)
def test_a_single_place_belongs_to_the_best_and_not_to_the_newest(name: str, best: set[int]):
    """Of softmax and uniform to whichever prompt is drawn."""
    assert {ids(find_selector(name), num_prompts=1, seed=seed)[0] for seed in range(200)} <= best
    assert {ids(find_selector(name), num_prompts=1, seed=seed)[0] for seed in range(200)} != {4}


@pytest.mark.parametrize("name", names(SELECTORS))
def test_a_small_window_is_taken_whole_and_then_repeated(name):
    chosen = ids(find_selector(name), window=WINDOW[:2], num_prompts=5)
    assert set(chosen[:2]) == {0, 1}
    assert chosen == (chosen[:2] * 3)[:5]
    assert ids(find_selector(name), window=WINDOW[:1], num_prompts=3) == [0, 0, 0]


@pytest.mark.parametrize("name", names(SELECTORS))
def test_the_same_seed_selects_the_same(name):
    assert [ids(find_selector(name), seed=s) for s in range(10)] == [ids(find_selector(name), seed=s) for s in range(10)]


@pytest.mark.parametrize("name", names(SELECTORS))
@pytest.mark.parametrize(("window", "num_prompts"), [((), 1), (WINDOW, 0)])
def test_nothing_to_select_is_refused(name, window, num_prompts):
    with pytest.raises(ValueError, match=r"empty window|at least one"):
        ids(find_selector(name), window=window, num_prompts=num_prompts)


@pytest.mark.parametrize("selector", [Ucb(), Lucb()])
def test_deterministic_selectors_draw_nothing(selector):
    rng = np.random.default_rng(0)
    selector.select(WINDOW, History(), 3, rng)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_ucb_takes_the_highest_upper_bounds():
    assert ids(Ucb(include_newest=False)) == [3, 1, 0]
    assert ids(Ucb()) == [3, 1, 4]
    assert ids(Ucb(width=0.0, include_newest=False)) == [0, 1, 2]


def test_lucb_takes_the_champion_and_the_strongest_challengers():
    assert ids(Lucb(include_newest=False)) == [0, 3, 1]
    assert ids(Lucb()) == [0, 3, 4]


@pytest.mark.parametrize("selector", [Ucb(), Lucb(), TopPlusRandom()])
def test_of_equals_the_older_leads(selector):
    assert ids(selector, window=prompts(*[(25, 8)] * 4))[0] == 0


def test_top_plus_random_always_leads_with_the_top_and_shares_the_rest_evenly():
    draws = [ids(TopPlusRandom(include_newest=False), seed=seed) for seed in range(1000)]
    assert all(chosen[0] == 3 for chosen in draws)
    counts = Counter(prompt_id for chosen in draws for prompt_id in chosen[1:])
    assert sorted(counts) == [0, 1, 2, 4]  # 500 each; the standard deviation is 16
    assert all(abs(count - 500) < 80 for count in counts.values())


def test_top_plus_random_with_the_newest_shares_the_third_place_evenly():
    draws = [ids(TopPlusRandom(), seed=seed) for seed in range(900)]
    assert all({3, 4} <= set(chosen) for chosen in draws)
    counts = Counter(prompt_id for chosen in draws for prompt_id in set(chosen) - {3, 4})
    assert all(abs(counts[prompt_id] - 300) < 70 for prompt_id in (0, 1, 2))


def test_uniform_is_blind_to_ratings():
    counts = Counter(p for seed in range(1000) for p in ids(Uniform(include_newest=False), seed=seed))
    assert all(abs(counts[prompt_id] - 600) < 80 for prompt_id in range(5))


def test_softmax_follows_the_formula_without_replacement():
    scores = np.array([31.0, 34.0, 29.0, 36.0, 27.0])
    p = np.exp(scores / 3.0) / np.exp(scores / 3.0).sum()
    second = np.array([sum(p[i] * p[j] / (1 - p[i]) for i in range(5) if i != j) for j in range(5)])
    selector = Softmax(temperature=3.0, include_newest=False)
    draws = np.array([ids(selector, num_prompts=2, seed=seed) for seed in range(3000)])
    for place, probabilities in enumerate([p, second]):
        observed = np.bincount(draws[:, place], minlength=5) / len(draws)
        assert np.abs(observed - probabilities).max() < 0.04  # over four standard deviations


def test_softmax_does_not_overflow_and_freezes_to_the_order_of_scores():
    assert ids(Softmax(temperature=1e-6, include_newest=False)) == [3, 1, 0]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_softmax_needs_a_positive_temperature(temperature):
    with pytest.raises(ValueError, match="temperature"):
        Softmax(temperature=temperature)
