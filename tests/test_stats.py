import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from rliable import metrics
from scipy import stats as scipy_stats
from scipy.special import logit

from espl_bench.seeding import rng_for
from espl_bench.stats import (
    PairedDifference,
    bootstrap_variances,
    difference_interval,
    iqm,
    iqm_interval,
    mean_interval,
    mean_pass_at_k,
    p_improvement,
    paired_difference,
    pass_at_k,
    permutation_p,
    rank_ranges,
    seed_interval,
)

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import claims_of_tables
import coverage_of_intervals as coverage


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


def test_mean_pass_at_k_is_the_mean_of_brute_force_over_runs_and_items():
    scores = (rng_for(0, "pass").random((2, 6, 5)) < 0.3).astype(float)
    for k in range(1, 6):
        cases = [any(chosen) for run in scores for item in run for chosen in combinations(item == 1.0, k)]
        assert mean_pass_at_k(scores, k) == pytest.approx(sum(cases) / len(cases))
    assert mean_pass_at_k([[[0.5, 0.9]]], 2) == 0.0, "half a reward is not correct"


def test_iqm_and_probability_of_improvement_equal_rliable():
    for trial in range(20):
        rng = rng_for(trial, "rliable")
        a, b = np.round(rng.random((5, 4)), 1), np.round(rng.random((3, 4)), 1)  # rounded, so that there are ties
        assert iqm(a) == pytest.approx(metrics.aggregate_iqm(a))
        assert p_improvement(a, b) == pytest.approx(metrics.probability_of_improvement(a, b))


def stratified_iqms(scores_RE, draws):
    """What rliable's StratifiedBootstrap does, in plain loops: for each environment, runs with replacement."""
    rng = np.random.RandomState(0)
    runs, environments = scores_RE.shape
    for _ in range(draws):
        yield metrics.aggregate_iqm(scores_RE[rng.choice(runs, (runs, environments)), np.arange(environments)])


def test_the_bootstrap_of_the_iqm_has_the_spread_of_a_stratified_one():
    """Items that all agree leave only the runs to draw. (rliable's own class cannot be imported beside pandas 3.)"""
    scores_RE = rng_for(3, "iqm").random((8, 3))
    low, high = iqm_interval([np.tile(column[:, None], (1, 5)) for column in scores_RE.T], rng_for(0, "ours"), draws=4000)
    widened = scipy_stats.t.ppf(0.975, 3 * 7) * np.sqrt(8 / 7)
    assert (high - low) / 2 == pytest.approx(widened * np.std(list(stratified_iqms(scores_RE, 2000)), ddof=1), rel=0.06)
    assert (low + high) / 2 == pytest.approx(metrics.aggregate_iqm(scores_RE))


def mean_differences(a, b, axis):
    return (a - b).mean(axis=axis)


@pytest.mark.parametrize("items", [5, 9, 12])
def test_exact_permutation_equals_scipy(items):
    for trial in range(5):
        a, b = rng_for(trial, "a", items).random(items), rng_for(trial, "b", items).random(items)
        expected = scipy_stats.permutation_test((a, b), mean_differences, permutation_type="samples", n_resamples=2**items, vectorized=True)
        assert permutation_p(a - b, rng_for(0)) == pytest.approx(expected.pvalue)


def test_drawn_permutation_is_near_scipys():
    a, b = rng_for(0, "a").random(40), rng_for(0, "b").random(40) - 0.12
    rng = np.random.default_rng(0)
    expected = scipy_stats.permutation_test(
        (a, b), mean_differences, permutation_type="samples", n_resamples=50_000, vectorized=True, rng=rng
    )
    assert 0.01 < expected.pvalue < 0.5
    assert permutation_p(a - b, rng_for(0), 50_000) == pytest.approx(expected.pvalue, abs=0.01)


def test_permutation_counts_ties_whatever_the_order_of_sums():
    assert permutation_p([0.1, 0.2, -0.3], rng_for(0)) == 1.0
    assert permutation_p([0.0] * 30, rng_for(0)) == 1.0
    assert permutation_p([0.1] * 12, rng_for(0)) == 2 / 2**12


def test_one_run_gets_the_t_interval_over_items_and_one_item_that_over_runs():
    values = rng_for(2, "items").normal(5, 1, 40)
    expected = scipy_stats.t.interval(0.95, 39, values.mean(), scipy_stats.sem(values))
    assert mean_interval(values[None, :]) == pytest.approx(expected)
    assert mean_interval(values[:, None]) == pytest.approx(expected)
    assert seed_interval(values) == pytest.approx(expected)
    assert seed_interval([0.5]) is None


def test_independent_trials_get_the_interval_of_log_odds():
    """One run of many items: the delta method's, which is near Wilson's where there are many trials."""
    items = (np.arange(5000) < 150).astype(float)
    low, high = mean_interval([items])
    half = scipy_stats.t.ppf(0.975, 4999) * scipy_stats.sem(items) / (0.03 * 0.97)
    assert (logit(low), logit(high)) == pytest.approx((logit(0.03) - half, logit(0.03) + half))
    wilson = scipy_stats.binomtest(150, 5000).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((wilson.low, wilson.high), rel=0.01)


def test_the_interval_reaches_further_towards_the_middle():
    low, high = mean_interval([[0.0] * 27 + [1.0] * 3])
    assert high - 0.1 > 0.1 - low > 0.0


def drawn_means(cells, draws, seeds, items, rng):
    """The hierarchical bootstrap in plain loops: the mean on runs, items, or both, drawn with replacement."""
    runs, number = cells.shape
    for _ in range(draws):
        rows = rng.choice(runs, runs) if seeds else np.arange(runs)
        columns = rng.choice(number, number) if items else np.arange(number)
        yield cells[np.ix_(rows, columns)].mean()


def test_the_variances_are_those_of_the_hierarchical_bootstrap():
    cells = rng_for(8, "cells").random((4, 6)) + rng_for(8, "runs").random((4, 1)) + 0.5 * rng_for(8, "items").random((1, 6))
    of_runs, of_items, of_both = (np.var(list(drawn_means(cells, 8000, *drawn, rng_for(9, *drawn)))) for drawn in ((1, 0), (0, 1), (1, 1)))
    by_runs, by_items, rest = bootstrap_variances(cells)
    assert by_runs == pytest.approx(of_runs * 4 / 3, rel=0.05)
    assert by_items == pytest.approx(of_items * 6 / 5, rel=0.05)
    closed = by_runs * 3 / 4 + by_items * 5 / 6 + rest * (3 / 4) * (5 / 6)
    assert closed == pytest.approx(of_both, rel=0.05)


def test_drawing_samples_adds_what_the_spread_of_the_averages_holds_already():
    """Cells that differ by the luck of their samples alone: their spread is the third stage's variance."""
    samples = (rng_for(10, "samples").random((40, 60, 4)) < 0.5).astype(float)
    third_stage = samples.var(axis=2, ddof=1).mean() / 4 / (40 * 60)
    assert bootstrap_variances(samples.mean(axis=2))[2] == pytest.approx(third_stage, rel=0.1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_or_nothing_is_no_certainty(value):
    low, high = mean_interval(np.full((3, 30), value))
    assert 0.05 < high - low < 0.2 and low <= value <= high and low >= 0.0 and high <= 1.0
    exact = scipy_stats.binomtest(int(30 * value), 30).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((exact.low, exact.high))
    assert mean_interval([[value]]) == (0.0, 1.0)


def test_seeds_that_differ_widen_the_interval_although_items_agree():
    cells = np.tile(np.array([0.2, 0.4, 0.6, 0.8])[:, None], (1, 50))
    low, high = mean_interval(cells)
    assert low < 0.25
    assert high > 0.75
    assert difference_interval(cells, np.zeros_like(cells)) == pytest.approx(
        scipy_stats.t.interval(0.95, 3, 0.5, scipy_stats.sem(cells[:, 0]))
    )


def test_more_seeds_on_the_same_items_do_not_remove_the_luck_of_the_items():
    items = rng_for(3, "items").random(30)
    (low_one, high_one), (low_many, high_many) = mean_interval([items]), mean_interval(np.tile(items, (20, 1)))
    assert high_many - low_many == pytest.approx(high_one - low_one, rel=0.02)


def test_the_interval_holds_the_mean_and_stays_inside():
    for trial in range(200):
        rng = rng_for(trial, "inside")
        cells = (rng.random((rng.integers(1, 5), rng.integers(2, 30), 4)) < rng.random() ** 4).mean(axis=2)
        low, high = mean_interval(cells)
        assert 0.0 <= low <= cells.mean() <= high <= 1.0


EXPERIMENTS = 400
SPREAD = 3 * np.sqrt(0.05 * 0.95 / EXPERIMENTS)
"""Three standard errors of a share of 5 %."""


@pytest.mark.parametrize(
    "world",
    [
        coverage.World(0.0, 0.0, 2.5),
        coverage.World(0.0, 1.0, 1.5),
        coverage.World(-4.5, 0.3, 2.5),
        coverage.World(4.5, 1.0, 1.5),
        coverage.World(-1.5, 0.5, 1.5, law=coverage.Law.EASY_TAIL),
    ],
)
def test_intervals_cover_and_equal_methods_are_not_called_different(world):
    rates = coverage.measure(world, EXPERIMENTS, slow_every=EXPERIMENTS)
    assert 0.93 - SPREAD <= rates.covered <= min(1.0, 0.97 + SPREAD)
    assert rates.differ <= 0.05 + SPREAD
    assert rates.better <= 0.025 + SPREAD


def test_the_false_positives_of_a_plain_bootstrap_are_seen_by_the_simulation():
    rates = coverage.measure(coverage.World(0.0, 1.0, 1.5), 100, slow_every=1)
    assert rates.differ_plain > 0.09 and rates.differ_permutation > 0.3


def test_equal_methods_differ_by_nothing():
    a = rng_for(4, "a").random((3, 10))
    assert paired_difference(a, a, rng_for(0, "d")) == PairedDifference(0.0, 0.0, 0.0, 0.5, 1.0)


def test_a_constant_lead_is_certain_although_items_vary():
    b = rng_for(5, "b").random((4, 25))
    found = paired_difference(b + 0.01, b, rng_for(0, "d"))
    assert (found.mean, found.low, found.high) == pytest.approx((0.01, 0.01, 0.01))
    assert found.low > 0 and found.p_permutation < 0.001


def test_swapping_the_methods_mirrors_the_difference():
    a, b = rng_for(6, "a").random((3, 12)), rng_for(6, "b").random((3, 12))
    forth, back = paired_difference(a, b, rng_for(0, "d")), paired_difference(b, a, rng_for(0, "d"))
    assert (back.mean, back.low, back.high) == pytest.approx((-forth.mean, -forth.high, -forth.low))
    assert back.p_improvement == pytest.approx(1 - forth.p_improvement)
    assert back.p_permutation == forth.p_permutation


def test_the_unlucky_pairing_of_unpaired_data_shows_in_the_interval():
    rng = rng_for(7, "pairs")
    items = rng.random((1, 100))
    a, b = items + 0.02 + 0.01 * rng.standard_normal((1, 100)), items
    paired = paired_difference(a, b, rng_for(0, "d"))
    shuffled = paired_difference(a, b[:, rng.permutation(100)], rng_for(0, "d"))
    assert paired.low > 0
    assert shuffled.high - shuffled.low > 10 * (paired.high - paired.low)


def test_rank_ranges_say_what_is_left_open():
    better = np.zeros((3, 3), dtype=bool)
    assert rank_ranges(better) == [(1, 3)] * 3
    better[0, 2] = True
    assert rank_ranges(better) == [(1, 2), (1, 3), (2, 3)]
    better[0, 1] = better[1, 2] = True
    assert rank_ranges(better) == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mean_interval(np.zeros(3)), "2 axes"),
        (lambda: mean_interval(np.zeros((2, 0))), "non-empty"),
        (lambda: mean_interval(np.full((1, 2), np.nan)), "finite"),
        (lambda: paired_difference(np.zeros((2, 3)), np.zeros((3, 2)), rng_for(0)), "one shape"),
        (lambda: p_improvement(np.zeros((2, 3)), np.zeros((2, 2))), "same environments"),
        (lambda: iqm_interval([np.zeros((2, 3)), np.zeros((3, 3))], rng_for(0)), "the same number of runs"),
        (lambda: iqm([[]]), "non-empty"),
        (lambda: bootstrap_variances(np.zeros((1, 3))), "two runs"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("law", list(coverage.Law))
def test_the_simulation_knows_its_truth(law):
    world, rng = coverage.World(-1.0, 0.5, 1.5, runs=200, items=3000, samples=1, law=law), rng_for(11, law.value)
    assert world.draw(rng, world.difficulties(rng)).mean() == pytest.approx(world.truth, abs=0.03)


def test_the_page_claims_no_more_than_its_simulations_show():
    """The record of five methods: a corrected table is wrong in at most 5 % wherever runs scatter around one level."""
    page = (Path(__file__).parents[1] / "docs" / "statistics.md").read_text(encoding="utf-8")
    record = page.partition("<!-- claims -->")[2].partition("<!-- end of claims -->")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in record.splitlines() if line.startswith(("| 3 ×", "| 5 ×"))]
    assert {row[0] for row in rows} == {"3 × 30 × 10", "5 × 100 × 4"} and len(rows) == 2 * len(claims_of_tables.ONE_KIND)
    assert all(float(row[4].rstrip("%")) <= 5.0 for row in rows)
    assert max(float(row[3].rstrip("%")) for row in rows) > 20.0, "without the correction it happens often"
