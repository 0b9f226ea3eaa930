import math

import pytest
import trueskill

from espl_bench.evolution.rating import conservative, crossover_child, mutation_child, optimistic, rate_by_means
from espl_bench.types import Rating


@pytest.fixture
def oracle():
    return trueskill.TrueSkill(mu=25.0, sigma=25 / 3, beta=25 / 6, tau=25 / 300, draw_probability=0.10)


RATINGS = {0: Rating(), 4: Rating(28.0, 5.0), 9: Rating(21.5, 3.25)}


def expected(oracle, ids, ranks):
    teams = [(oracle.create_rating(RATINGS[i].mu, RATINGS[i].sigma),) for i in ids]
    return {i: pytest.approx((r.mu, r.sigma), abs=1e-12) for i, (r,) in zip(ids, oracle.rate(teams, ranks), strict=True)}


@pytest.mark.parametrize(
    ("means", "ids", "ranks"),
    [
        ({0: 0.2, 4: 0.7}, [4, 0], [0, 1]),
        ({0: 0.5, 4: 0.5}, [0, 4], [0, 0]),
        ({0: 0.3, 4: 0.5, 9: 0.9}, [9, 4, 0], [0, 1, 2]),
        ({0: 0.9, 4: 0.5, 9: 0.5}, [0, 4, 9], [0, 1, 1]),
        ({0: 0.5, 4: 0.5, 9: 0.1}, [0, 4, 9], [0, 0, 2]),
        ({0: 0.0, 4: 0.0, 9: 0.0}, [0, 4, 9], [0, 0, 0]),
    ],
)
def test_update_is_that_of_the_package(oracle, means, ids, ranks):
    rated = rate_by_means(RATINGS, means)
    assert {i: (rated[i].mu, rated[i].sigma) for i in ids} == expected(oracle, ids, ranks)
    assert all(rated[i] == RATINGS[i] for i in RATINGS.keys() - means.keys())


def test_two_fresh_players_match_the_published_example():
    # Herbrich et al. 2006; the figures that every TrueSkill calculator gives with a draw probability of 10 %
    won = rate_by_means({0: Rating(), 1: Rating()}, {0: 1.0, 1: 0.0})
    assert (won[0].mu, won[0].sigma) == pytest.approx((29.396, 7.171), abs=1e-3)
    assert (won[1].mu, won[1].sigma) == pytest.approx((20.604, 7.171), abs=1e-3)
    drawn = rate_by_means({0: Rating(), 1: Rating()}, {0: 1.0, 1: 1.0})
    assert (drawn[0].mu, drawn[0].sigma) == pytest.approx((25.000, 6.458), abs=1e-3)


def draws(high, low, **options):
    rated = rate_by_means({0: Rating(), 1: Rating()}, {0: high, 1: low}, **options)
    return rated[0].mu == pytest.approx(rated[1].mu)


@pytest.mark.parametrize(("high", "low"), [(0.31, 0.30), (0.30, 0.29), (0.07, 0.06), (1.0, 0.99), (0.58, 0.57)])
def test_one_hundredth_apart_is_a_draw_whatever_the_rounding(high, low):
    assert draws(high, low)


def test_more_than_the_tie_is_a_win():
    assert not draws(0.3101, 0.30)
    assert not draws(0.30 + 0.01 + 1e-8, 0.30)
    assert draws(0.35, 0.30, tie=0.05)
    assert not draws(0.301, 0.300, tie=0.0)


def test_a_chain_of_ties_is_broken_at_the_distance_from_its_best(oracle):
    rated = rate_by_means(RATINGS, {0: 0.520, 4: 0.512, 9: 0.504})
    assert {i: (r.mu, r.sigma) for i, r in rated.items()} == expected(oracle, [0, 4, 9], [0, 0, 2])


def test_order_of_the_mappings_does_not_change_a_bit():
    means = {0: 0.9, 4: 0.5, 9: 0.5}
    turned = rate_by_means(dict(reversed(RATINGS.items())), dict(reversed(means.items())))
    assert turned == rate_by_means(RATINGS, means)


@pytest.mark.parametrize("means", [{}, {4: 1.0}])
def test_alone_nothing_changes(means):
    assert rate_by_means(RATINGS, means) == RATINGS


def test_the_global_environment_is_neither_read_nor_written():
    before = repr(trueskill.global_env())
    plain = rate_by_means(RATINGS, {0: 1.0, 4: 0.0})
    try:
        trueskill.setup(mu=1000.0, sigma=1.0, beta=1.0, tau=1.0, draw_probability=0.5)
        assert rate_by_means(RATINGS, {0: 1.0, 4: 0.0}) == plain
    finally:
        trueskill.setup()
    assert repr(trueskill.global_env()) == before


@pytest.mark.parametrize(
    ("means", "words"),
    [({0: 1.0, 5: 0.5}, "no rating"), ({0: math.nan, 4: 1.0}, "not finite"), ({0: math.inf}, "finite")],
)
def test_bad_means_are_refused(means, words):
    with pytest.raises(ValueError, match=words):
        rate_by_means(RATINGS, means)


def test_mutation_keeps_mu_and_adds_variance():
    child = mutation_child(Rating(27.0, 3.0), growth=4.0)
    assert child == Rating(27.0, 5.0)


def test_crossover_is_the_precision_weighted_mean():
    # precisions 1 and 1/4: mu = (10 + 20/4) / 1.25 = 12, variance = 0.8 + 1
    child = crossover_child([Rating(10.0, 1.0), Rating(20.0, 2.0)], growth=1.0)
    assert (child.mu, child.sigma) == pytest.approx((12.0, math.sqrt(1.8)))


def test_crossover_with_one_parent_is_mutation():
    child, twin = crossover_child([Rating(27.0, 3.0)], 1.0), mutation_child(Rating(27.0, 3.0), 1.0)
    assert (child.mu, child.sigma) == pytest.approx((twin.mu, twin.sigma))


def test_crossover_without_parents_is_refused():
    with pytest.raises(ValueError, match="parent"):
        crossover_child([], 1.0)


def test_bounds():
    assert conservative(Rating(25.0, 3.0), 2.0) == 19.0
    assert optimistic(Rating(25.0, 3.0), 2.0) == 31.0
