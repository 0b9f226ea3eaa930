"""What a table claims of all its methods at once: corrected p-values, ranks, marks and warnings about seeds."""

import sys
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from checked import present
from cli_fixtures import make_study, make_summary

from espl_bench.leaderboard import grouping
from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.comparisons import ALPHA, contender_comparisons, holm
from espl_bench.leaderboard.grouping import GroupEntry, MethodRuns
from espl_bench.leaderboard.layout import LEGEND
from espl_bench.leaderboard.render import Format, to_text
from espl_bench.leaderboard.rows import Configuration
from espl_bench.leaderboard.seed_notes import widest_gap
from espl_bench.seeding import rng_for
from espl_bench.stats import difference_interval, difference_p, interval_p, rank_ranges

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import simulated_studies as simulated


def board_of(summaries):
    return build_board([GroupEntry(summary.row, summary) for summary in summaries])


def table_of(summaries):
    [table] = board_of(summaries).tables
    return table


def scores(share: float, items: int = 100) -> list[float]:
    return [1.0] * round(share * items) + [0.0] * round((1 - share) * items)


def closed_testing(p_values: list[float]) -> list[float]:
    """Holm from its definition: a hypothesis falls if every intersection that holds it falls by Bonferroni."""
    places = range(len(p_values))
    sets = [set(chosen) for size in range(1, len(p_values) + 1) for chosen in combinations(places, size)]
    return [max(min(1.0, len(each) * min(p_values[i] for i in each)) for each in sets if place in each) for place in places]


def test_holm_is_the_closure_of_bonferroni():
    for trial in range(50):
        p_values = list(rng_for(trial, "holm").random(5) ** 3)
        assert holm(p_values) == pytest.approx(closed_testing(p_values))
    assert holm([]) == [] and holm([0.03]) == [0.03] and holm([0.01, 0.01, 0.9]) == pytest.approx([0.03, 0.03, 0.9])


def interval_at(cells, level: float):
    return difference_interval(cells, np.zeros_like(cells), level=level)


@pytest.mark.parametrize("shape", [(2, 5), (3, 30), (5, 100), (1, 20), (20, 1), (4, 2)])
def test_a_p_value_is_where_the_interval_reaches_0(shape: tuple[int, int]):
    for trial in range(20):
        rng = rng_for(trial, "p", *shape)
        cells = rng.normal(rng.normal(), 1, shape) + rng.normal(0, 1, (shape[0], 1)) + rng.normal(0, 1, (1, shape[1]))
        nothing = np.zeros(shape)
        p = difference_p(cells, nothing)
        for level, excluded in ((1 - p * 1.001, True), (1 - p * 0.999, False)):
            low, high = difference_interval(cells, nothing, level=level)
            assert (not low <= 0.0 <= high) == excluded
        found = interval_p(partial(interval_at, cells))
        assert found == pytest.approx(max(p, 1e-9), rel=1e-3)


def test_p_values_at_the_ends():
    level, lead = np.full((3, 4), 0.5), np.full((3, 4), 0.75)
    assert difference_p(level, level) == 1.0 and difference_p(lead, level) == 0.0
    assert difference_p(lead[:1, :1], level[:1, :1]) == 1.0
    assert interval_p(lambda level: (0.5, 0.5)) == 1e-9


def test_the_simulation_computes_the_p_values_of_the_tables():
    cells = rng_for(0, "all pairs").normal(0.2, 1, (10, 5, 4, 12))
    cells[0, 1] = cells[0, 0]
    expected = [[difference_p(each[a], each[b]) for a, b in combinations(range(5), 2)] for each in cells]
    tests = simulated.pair_tests(cells)
    assert tests.p_values() == pytest.approx(np.asarray(expected)) and tests.p_values()[0, 0] == 1.0
    low, high = difference_interval(cells[1, 0], cells[1, 1], level=0.995)
    assert np.sqrt(tests.squared_half_widths(0.995)[1, 0]) == pytest.approx((high - low) / 2)


def test_of_five_equal_methods_somebody_is_rarely_denied_the_first_rank():
    """Judged pair by pair it happens in about a quarter of studies."""
    study, number = simulated.equal("test", 0.5, simulated.Seeds(1.0)), 400
    cells, _ = study.draw(rng_for(0, "equal"), number, 3, 30, 10)
    denied = 0
    pair_by_pair = 0
    for each in cells:
        methods = {
            name: MethodRuns({seed: make_summary(name, seed) for seed in range(3)}, name, Configuration({}, True), of[:, :, None], of)
            for name, of in zip("abcde", each, strict=True)
        }
        ranks = rank_ranges(contender_comparisons(grouping.TestGroup("env", "model", 1, 30, methods)).matrix(list(methods)))
        denied += any(first > 1 for first, _ in ranks)
        pair_by_pair += any(difference_p(a, b) < 0.05 for a, b in combinations(each, 2))
    assert denied / number <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / number)
    assert pair_by_pair / number > 0.15


def test_a_gap_that_one_pair_alone_would_separate_is_not_claimed_in_a_larger_table():
    """Raw p-values of neighbours near 0.02; ten comparisons leave nothing of that."""

    def study(methods: int):
        runs = []
        for place in range(methods):
            for seed in range(5):
                wiggle = 0.02 * (rng_for(seed, "wiggle", place % 2).random() - 0.5)
                runs.append(make_summary(f"m{place}", seed, scores(round(0.5 + 0.035 * (place == 0) + wiggle, 2))))
        return table_of(runs)

    two = study(2)
    many = study(5)
    assert 0.005 < present(two.rows[1].p_corrected) < ALPHA and two.separated
    assert many.best == two.best == "m0" and not many.separated
    assert {row.rank for row in many.rows if row.method != "m0"} == {(1, 5)}
    assert all(row.below_noise for row in many.rows if row.method != many.best)


def test_one_shared_seed_ranks_nobody():
    runs = [make_summary("espl", seed, scores(1.0)) for seed in (0, 1)] + [make_summary("base", seed, scores(0.0)) for seed in (1, 2)]
    table = table_of(runs)
    assert [row.rank for row in table.rows] == [(1, 2), (1, 2)] and not table.separated
    assert [row.p_corrected for row in table.rows] == [None, None]
    both = table_of([*runs, make_summary("base", 0, scores(0.0))])
    assert [row.rank for row in both.rows] == [(1, 1), (2, 2)] and both.separated


def test_an_overview_is_corrected_for_all_its_pairs():
    """Five equal methods on two environments; the seed is one at which two of them differ if judged by themselves."""
    cells = next(drawn for trial in range(200) if 0.005 < min(_combined_p(drawn := _two_environments(trial))) < 0.04)
    runs = [
        make_summary(f"m{m}", seed, list(cells[e, m, seed]), env=env, k=1, sample_scores=tuple((float(x),) for x in cells[e, m, seed]))
        for e, env in enumerate(("one", "two"))
        for m in range(5)
        for seed in range(3)
    ]
    assert {row.rank for row in present(board_of(runs).overview).rows} == {(1, 5)}


def _two_environments(trial: int):
    study = simulated.equal("overview", 0.5, simulated.Seeds(1.0))
    return np.stack([study.draw(rng_for(trial, "overview", env), 1, 3, 20, 4)[0][0] for env in "ab"])


def _combined_p(cells) -> list[float]:
    """P-values of all pairs, each from the interval of the mean difference over the environments."""

    def interval(a: int, b: int, level: float):
        found = [difference_interval(env[a], env[b], level=level) for env in cells]
        centre = sum(low + high for low, high in found) / 2 / len(found)
        half = np.sqrt(sum(((high - low) / 2) ** 2 for low, high in found)) / len(found)
        return centre - half, centre + half

    return [interval_p(partial(interval, a, b)) for a, b in combinations(range(5), 2)]


@pytest.mark.parametrize("form", [form for form in Format if form is not Format.SCREEN])
def test_no_format_prints_a_p_value_of_0(form: Format):
    text = to_text(board_of(make_study()), form, curves=False)
    assert "0.000 " not in text and "0.000<" not in text
    if form in (Format.MARKDOWN, Format.LATEX, Format.HTML):
        assert {"markdown": r"\< 0.001", "latex": r"\textless{} 0.001", "html": "&lt; 0.001"}[form.value] in text


def test_the_legend_says_which_intervals_are_pointwise():
    assert "pointwise" in LEGEND and "corrected for all pairs" in LEGEND


def two_kinds(low: float, high: float):
    levels = (low, low + 0.01, high, low - 0.01, high + 0.01)
    return [make_summary("espl", seed, scores(level)) for seed, level in enumerate(levels)]


def test_runs_of_two_kinds_are_noted_with_their_seeds():
    table = table_of([*two_kinds(0.1, 0.6), *(make_summary("base", seed, scores(0.1)) for seed in range(5))])
    [note] = [note for note in table.notes if "two kinds" in note]
    assert note.startswith("espl: its runs look like two kinds, 9.0 to 11.0 % (seeds 0, 1, 3) and 60.0 to 61.0 % (seeds 2, 4)")
    assert not any("two kinds" in note for note in table_of(two_kinds(0.1, 0.12)).notes), "a gap of a point is nothing to warn of"


def test_a_single_run_apart_is_noted_and_two_runs_are_not_judged():
    runs = [make_summary("espl", seed, scores(level)) for seed, level in enumerate((0.5, 0.51, 0.0, 0.49, 0.5))]
    [note] = [note for note in table_of(runs).notes if "two kinds" in note]
    assert "0.0 % (seed 2) and 49.0 to 51.0 % (seeds 0, 1, 3, 4)" in note
    assert widest_gap(np.asarray([scores(0.1), scores(0.9)])) is None


def test_a_table_of_few_seeds_says_what_they_can_miss():
    def few(seeds: int, method: str = "espl"):
        return [note for note in table_of([make_summary(method, seed) for seed in range(seeds)]).notes if "one in four" in note]

    assert ["42 %" in few(3)[0], "24 %" in few(5)[0], "6 %" in few(10)[0]] == [True] * 3
    assert not few(11) and not few(3, "base"), "a method that is not trained has no other kind of run"
