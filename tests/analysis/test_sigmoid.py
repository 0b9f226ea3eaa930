"""Sigmoids through learning curves: found where the curve bends, refused where it does not say."""

import numpy as np
import pytest

from espl_bench.accounting.usage import Spent
from espl_bench.analysis.measures.sigmoid import NotIdentifiedError, fit_sigmoid
from espl_bench.runs.summary import CurvePoint

SPENT = Spent(rollouts=0, generated_tokens=0, reflection_tokens=0, train_tokens=0, seconds=0.0)


def curve(scores: dict[int, float], split: str = "validation") -> list[CurvePoint]:
    return [CurvePoint.model_validate({"step": step, "split": split, "score": score, "spent": SPENT}) for step, score in scores.items()]


def bent(asymptote: float, rate: float, midpoint: float, noise: float = 0.0, until: int = 60) -> list[CurvePoint]:
    rng = np.random.default_rng(3)
    steps = range(0, until + 1, 4)
    risen = {step: (asymptote - 0.1) / (1 + (midpoint / step) ** rate) + noise * float(rng.standard_normal()) for step in steps if step}
    return curve({0: 0.1, **{step: 0.1 + rise for step, rise in risen.items()}})


def test_the_parameters_of_a_sigmoid_are_found_again():
    fit = fit_sigmoid(bent(0.8, 2.5, 15.0))
    assert (fit.asymptote.mean, fit.rate.mean, fit.midpoint.mean) == pytest.approx((0.8, 2.5, 15.0), abs=1e-4)
    assert (fit.split, fit.points, fit.start) == ("validation", 15, 0.1)


def test_intervals_hold_the_truth_of_a_noisy_curve():
    fit = fit_sigmoid(bent(0.8, 2.5, 15.0, noise=0.02))
    for estimate, truth in ((fit.asymptote, 0.8), (fit.rate, 2.5), (fit.midpoint, 15.0)):
        assert estimate.low is not None and estimate.high is not None and estimate.low < truth < estimate.high


def test_scores_above_one_are_fitted_too():
    tripled = [point.model_copy(update={"score": 3 * point.score}) for point in bent(0.8, 2.5, 15.0)]
    assert fit_sigmoid(tripled).asymptote.mean == pytest.approx(2.4, abs=1e-3)


def test_the_longer_of_two_curves_is_read():
    points = [*bent(0.8, 2.5, 15.0), *curve({0: 0.1, 60: 0.7}, "test")]
    assert fit_sigmoid(points) == fit_sigmoid(points[:-2])


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "has no score before the first step; run with --eval-every"),
        (curve({10: 0.4, 20: 0.5}), "has no score before the first step"),
        (curve({0: 0.1, 10: 0.4, 20: 0.5}), "has 2 scores after the start, and 6 are needed; lower --eval-every"),
        (curve({step: 0.3 - step / 1000 for step in range(8)}), "never rises above its start, 30.0"),
        (curve({step: 0.1 + step / 200 for step in range(0, 60, 5)}), "ends before it bends"),
        (curve({step: 0.8 if step >= 12 else 0.1 for step in range(0, 40, 4)}), "does not determine a sigmoid"),
        (curve({step: 0.04 + 0.004 * (step > 16) - 0.002 * (step % 3) for step in range(0, 26, 2)}), "its rise is within the noise"),
        (curve({0: 0.1, **{step: 0.1 + 0.1 * (step % 3) for step in range(1, 12)}}), "learning curve"),
    ],
)
def test_a_curve_that_does_not_identify_one_is_refused_in_one_line(points: list[CurvePoint], message: str):
    with pytest.raises(NotIdentifiedError, match=message) as fault:
        fit_sigmoid(points)
    assert "\n" not in str(fault.value)
