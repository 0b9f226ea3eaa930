from itertools import combinations

import numpy as np
import pytest

from espl_bench.seeding import rng_for
from espl_bench.stats import PairedDifference, avg_at_k, bootstrap_ci, iqm, paired_difference, pass_at_k


def test_avg_at_k_is_the_mean():
    assert avg_at_k([[1, 0, 0, 1], [1, 1, 1, 1]]) == 0.75


def test_pass_at_k_equals_brute_force():
    for n in range(1, 8):
        for c in range(n + 1):
            outcomes = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                subsets = list(combinations(outcomes, k))
                assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_is_exact_for_large_n():
    assert pass_at_k(100_000, 0, 50_000) == 0.0
    assert pass_at_k(10_000, 1, 5_000) == pytest.approx(0.5)


@pytest.mark.parametrize(("n", "c", "k"), [(5, 6, 1), (5, -1, 1), (5, 2, 0), (5, 2, 6)])
def test_pass_at_k_refuses_the_impossible(n, c, k):
    with pytest.raises(ValueError, match="pass@k"):
        pass_at_k(n, c, k)


def test_iqm_drops_a_quarter_at_each_end():
    assert iqm([[0.0, 1.0, 2.0, 300.0]]) == 1.5
    assert iqm([[5.0, 1.0], [2.0, 3.0], [4.0, -100.0]]) == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert iqm([[7.0]]) == 7.0


def test_interval_of_a_constant_is_a_point():
    low, high = bootstrap_ci(np.full((3, 5, 2), 0.25), rng_for(0, "ci"))
    assert (low, high) == pytest.approx((0.25, 0.25))


def test_interval_is_reproducible_and_ordered():
    scores = rng_for(1, "scores").random((3, 20, 4))
    assert bootstrap_ci(scores, rng_for(0, "ci")) == bootstrap_ci(scores, rng_for(0, "ci"))
    low, high = bootstrap_ci(scores, rng_for(0, "ci"))
    assert low < scores.mean() < high
    narrow = bootstrap_ci(scores, rng_for(0, "ci"), level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_one_seed_gives_the_bootstrap_over_items():
    # the mean of n resampled items is normal around the mean with standard deviation s / sqrt(n)
    items = rng_for(2, "items").random((1, 400, 1))
    low, high = bootstrap_ci(items, rng_for(0, "ci"), draws=4000)
    half = 1.96 * items.std() / np.sqrt(400)
    assert (low, high) == pytest.approx((items.mean() - half, items.mean() + half), abs=0.1 * half)


def test_seeds_that_differ_widen_the_interval_although_items_agree():
    scores = np.array([0.2, 0.4, 0.6, 0.8])[:, None, None] * np.ones((4, 50, 1))
    low, high = bootstrap_ci(scores, rng_for(0, "ci"))
    assert low < 0.35
    assert high > 0.65


def test_more_seeds_on_the_same_items_do_not_remove_the_luck_of_the_items():
    item_effects = rng_for(3, "items").random(30)
    one = np.tile(item_effects, (1, 1))[:, :, None]
    many = np.tile(item_effects, (20, 1))[:, :, None]
    low_one, high_one = bootstrap_ci(one, rng_for(0, "ci"))
    low_many, high_many = bootstrap_ci(many, rng_for(0, "ci"))
    assert high_many - low_many == pytest.approx(high_one - low_one, rel=0.1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for trial in range(200):
        rng = rng_for(trial, "coverage")
        scores = rng.random((1, 60, 2)) < rng.random((1, 60, 1))  # true mean 0.5
        low, high = bootstrap_ci(scores, rng, draws=400)
        covered += low <= 0.5 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_equal_methods_differ_by_nothing():
    a = rng_for(4, "a").random((3, 10))
    assert paired_difference(a, a, rng_for(0, "d")) == PairedDifference(0.0, 0.0, 0.0, 0.5)


def test_a_constant_lead_is_certain_although_items_vary():
    b = rng_for(5, "b").random((4, 25))
    found = paired_difference(b + 0.01, b, rng_for(0, "d"))
    assert (found.mean, found.low, found.high) == pytest.approx((0.01, 0.01, 0.01))
    assert found.p_improvement == 1.0


def test_swapping_the_methods_mirrors_the_difference():
    a, b = rng_for(6, "a").random((3, 12)), rng_for(6, "b").random((3, 12))
    forth, back = paired_difference(a, b, rng_for(0, "d")), paired_difference(b, a, rng_for(0, "d"))
    assert (back.mean, back.low, back.high) == pytest.approx((-forth.mean, -forth.high, -forth.low))
    assert back.p_improvement == pytest.approx(1 - forth.p_improvement)


def test_the_unlucky_pairing_of_unpaired_data_shows_in_the_interval():
    rng = rng_for(7, "pairs")
    items = rng.random((1, 100))
    a, b = items + 0.02 + 0.01 * rng.standard_normal((1, 100)), items
    paired = paired_difference(a, b, rng_for(0, "d"))
    shuffled = paired_difference(a, b[:, rng.permutation(100)], rng_for(0, "d"))
    assert paired.low > 0
    assert shuffled.high - shuffled.low > 10 * (paired.high - paired.low)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bootstrap_ci(np.zeros((2, 3)), rng_for(0)), "3 axes"),
        (lambda: bootstrap_ci(np.zeros((2, 0, 1)), rng_for(0)), "non-empty"),
        (lambda: bootstrap_ci(np.full((1, 2, 1), np.nan), rng_for(0)), "finite"),
        (lambda: bootstrap_ci(np.zeros((1, 2, 1)), rng_for(0), level=95.0), "level"),
        (lambda: bootstrap_ci(np.zeros((1, 2, 1)), rng_for(0), draws=0), "draw"),
        (lambda: paired_difference(np.zeros((2, 3)), np.zeros((3, 2)), rng_for(0)), "one shape"),
        (lambda: avg_at_k([1, 0]), "2 axes"),
        (lambda: iqm([[]]), "non-empty"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
