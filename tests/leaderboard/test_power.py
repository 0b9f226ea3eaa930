"""A plan is right if the design it names separates the gap about as often as it says; shares are right where the parts are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from checked import present
from cli_fixtures import make_study, make_summary, write_run

from espl_bench.analysis.attribution import AttributionCell, Cells, PromptChoice, Weights, compute
from espl_bench.cli.app import invoke
from espl_bench.cli.commands.plan import parse_gap
from espl_bench.leaderboard.power import Noise, estimate_noise
from espl_bench.seeding import rng_for
from espl_bench.stats import difference_interval, ratio_interval

NOISE = Noise(seeds=0.03**2, items=0.1**2, both=0.08**2, samples=0.4)


def draw(rng, noise: Noise, gap: float, runs: int, items: int, samples: int):
    """Two methods' (runs, items, samples) rewards whose difference has these variances."""
    shared = rng.normal(0, noise.seeds**0.5, (runs, 1, 1)) + rng.normal(0, noise.items**0.5, (1, items, 1))
    shared = shared + rng.normal(0, noise.both**0.5, (runs, items, 1))
    own = [rng.normal(0, (noise.samples / 2) ** 0.5, (runs, items, samples)) for _ in range(2)]
    return gap + shared + own[0], own[1]


def test_the_noise_is_found_again():
    rng, noise = rng_for(0, "noise"), replace(NOISE, seeds=0.1**2, both=0.3**2)  # large enough that no estimate is cut off at 0
    found = [estimate_noise(*draw(rng, noise, 0.0, 6, 60, 4)) for _ in range(200)]
    for name in ("seeds", "items", "both", "samples"):
        assert np.mean([getattr(each, name) for each in found]) == pytest.approx(getattr(noise, name), rel=0.2)


@pytest.mark.parametrize(("runs", "items", "samples"), [(4, 50, 4), (8, 50, 2), (12, 100, 1)])
def test_the_named_gap_is_separated_in_about_four_of_five_experiments(runs: int, items: int, samples: int):
    rng, gap = rng_for(1, "power", runs), NOISE.detects(runs, items, samples)
    separated = 0
    for _ in range(400):
        a, b = draw(rng, NOISE, gap, runs, items, samples)
        separated += difference_interval(a.mean(axis=2), b.mean(axis=2))[0] > 0.0
    assert 0.70 < separated / 400 < 0.93


def test_more_of_anything_separates_smaller_gaps_and_one_seed_none():
    assert NOISE.detects(1, 100, 10) == float("inf")
    gaps = [NOISE.detects(*shape) for shape in ((3, 50, 2), (6, 50, 2), (6, 100, 2), (6, 100, 8))]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < gaps[0] / 2


def test_a_plan_is_printed_from_runs_and_names_the_cheapest_first(tmp_path, capsys):
    for run in make_study():
        write_run(tmp_path / run.run_id, run)
    assert invoke(["plan", str(tmp_path), "--env", "rulebook", "--detect", "10pp", "--methods", "espl,base", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)["plans"]
    hours = [design["hours"] for design in found["designs"]]
    assert hours and hours == sorted(hours) and all(design["detects"] <= 0.1 and design["seeds"] >= 2 for design in found["designs"])
    assert (found["a"], found["b"], found["seeds"], found["gap"]) == ("espl", "base", 3, 0.1)
    assert invoke(["plan", str(tmp_path), "--env", "rulebok"]) == 2
    assert "did you mean 'rulebook'?" in capsys.readouterr().err


def test_a_plain_name_means_the_default_options_where_there_are_such_runs(tmp_path, capsys):
    for summary in make_study():
        write_run(tmp_path / summary.run_id, summary)
    write_run(tmp_path / "elsewhere", make_summary(method="espl_contrast", env_options={"world": 7}))
    assert invoke(["plan", str(tmp_path), "--env", "rulebook", "--detect", "5pp", "--methods", "espl,rl_only"]) == 0
    assert "world=7" not in capsys.readouterr().out
    assert invoke(["plan", str(tmp_path), "--env", "rulebook(world=7)", "--detect", "5pp"]) == 2
    assert "rulebook(world=7) has runs of one method only" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "gap"), [("3pp", 0.03), ("3", 0.03), ("0.03", 0.03), ("2.5 points", 0.025)])
def test_gaps_are_read_as_they_are_written(text: str, gap: float):
    assert parse_gap(text) == pytest.approx(gap)


def test_a_gap_that_is_none_is_one_line(capsys):
    assert invoke(["plan", "--detect", "much"]) == 2
    assert "--detect takes percentage points" in capsys.readouterr().err


def cells(levels, rng, items=200, samples=4) -> Cells:
    hard = rng.normal(0, 0.05, items)
    return Cells(
        step=10,
        cells=tuple(
            AttributionCell(
                weights=weights,
                words=words,
                principles=(words.value,),
                sample_scores=tuple(map(tuple, rng.binomial(1, np.clip(level + hard, 0, 1), (samples, items)).T.astype(float).tolist())),
            )
            for (weights, words), level in levels.items()
        ),
    )


LEVELS = {
    (Weights.BASE, PromptChoice.ROOT): 0.1,
    (Weights.BASE, PromptChoice.EVOLVED): 0.4,
    (Weights.TRAINED, PromptChoice.ROOT): 0.2,
    (Weights.TRAINED, PromptChoice.EVOLVED): 0.6,
    (Weights.BASE, PromptChoice.OTHER_SEED): 0.3,
    (Weights.TRAINED, PromptChoice.OTHER_SEED): 0.4,
}
"""Words add 0.35, weights 0.15, both beyond that 0.1; another seed's words 0.2."""


def test_the_parts_of_a_gain_are_found_and_sum_to_it():
    rng = rng_for(0, "attribution")
    found = compute([cells(LEVELS, rng) for _ in range(4)])
    assert found.words.mean + found.weights.mean == pytest.approx(found.gain.mean)
    known = {"gain": 0.5, "words": 0.35, "weights": 0.15, "interaction": 0.1, "carried_over": 0.2}
    for name, value in known.items():
        effect = getattr(found, name)
        assert effect.interval[0] <= effect.mean <= effect.interval[1]
        assert effect.mean == pytest.approx(value, abs=0.04)
    words, weights = present(found.words_share), present(found.weights_share)
    assert words == pytest.approx(0.7, abs=0.06) and words + weights == pytest.approx(1.0)
    low, high = present(found.words_share_interval)
    assert low < 0.7 < high


def test_intervals_of_shares_hold_the_truth():
    rng = rng_for(0, "shares")
    found = [present(compute([cells(LEVELS, rng, items=60, samples=2) for _ in range(3)]).words_share_interval) for _ in range(200)]
    covered = np.mean([low <= 0.7 <= high for low, high in found])
    assert covered >= 0.93


def test_nothing_is_shared_out_where_there_is_no_gain():
    flat = dict.fromkeys(LEVELS, 0.3)
    found = compute([cells(flat, rng_for(5, "flat")) for _ in range(3)])
    assert found.words_share is None and found.words_share_interval is None


def test_a_ratio_is_known_exactly_where_nothing_varies():
    whole = rng_for(0, "ratio").normal(1.0, 0.1, (3, 50))
    assert ratio_interval(0.25 * whole, whole) == (pytest.approx(0.25, abs=1e-5), pytest.approx(0.25, abs=1e-5))
