"""Fit a sigmoid to a learning curve: where it ends, how steeply it rises, and when it is half way.

The form is that of ScaleRL (arXiv 2510.13786), which FST (arXiv 2605.12484) compares methods by: score(x) = start + (asymptote - start) /
(1 + (midpoint / x) ^ rate), with the score before the first step as start. A curve that has not bent yet fits any asymptote, so a fit
whose intervals say so is refused.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import (  # pyright: ignore[reportMissingTypeStubs]
    OptimizeWarning,
    curve_fit,  # pyright: ignore[reportUnknownVariableType]
)
from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

from espl_bench.errors import EsplError
from espl_bench.runs.measures_file import Estimate, Sigmoid
from espl_bench.runs.summary import CurvePoint
from espl_bench.utils.formatting import points

FEWEST: Final = 6
"""Evaluations after the first step: two for each parameter."""
WIDEST: Final = 0.25
"""Half width of the asymptote's interval from which it says too little, in score."""
STEEPEST: Final = 20.0
"""Rate from which a curve rises between two evaluations, so that its steepness is not seen."""
Floats = NDArray[np.float64]


class NotIdentifiedError(EsplError):
    """The curve does not determine a sigmoid."""


def fit_sigmoid(curve: Sequence[CurvePoint]) -> Sigmoid:
    """Fit the validation curve, or the test curve if that has more points. Raises NotIdentifiedError in one line."""
    split, pairs = max(((split, _pairs(curve, split)) for split in ("validation", "test")), key=lambda each: len(each[1]))
    if not pairs or pairs[0][0] != 0:
        raise NotIdentifiedError("the learning curve has no score before the first step; run with --eval-every")
    start, later = pairs[0][1], pairs[1:]
    if len(later) < FEWEST:
        raise NotIdentifiedError(f"the learning curve has {len(later)} scores after the start, and {FEWEST} are needed; lower --eval-every")
    x, y = (np.asarray(values, dtype=np.float64) for values in zip(*later, strict=True))
    if y.max() <= start:
        raise NotIdentifiedError(f"the learning curve never rises above its start, {points(start)}")
    values, halves = _fitted(x, y, start)
    asymptote, rate, midpoint = (
        Estimate(mean=value, low=value - half, high=value + half) for value, half in zip(values, halves, strict=True)
    )
    if min(values[0] - halves[0] - start, values[1] - halves[1], values[2] - halves[2]) <= 0.0:
        raise NotIdentifiedError("the learning curve does not determine a sigmoid: its rise is within the noise, or seen too seldom")
    if halves[0] > WIDEST or values[2] > x[-1]:
        raise NotIdentifiedError(f"the learning curve ends before it bends: its asymptote is {points(values[0])} ± {points(halves[0])}")
    return Sigmoid(
        split="validation" if split == "validation" else "test",
        points=len(later),
        start=start,
        asymptote=asymptote,
        rate=rate,
        midpoint=midpoint,
    )


def _pairs(curve: Sequence[CurvePoint], split: str) -> list[tuple[int, float]]:
    return sorted({point.step: point.score for point in curve if point.split == split}.items())


def _fitted(x: Floats, y: Floats, start: float) -> tuple[list[float], list[float]]:
    """Return asymptote, rate and midpoint with the half widths of their 95 % t intervals. Raises NotIdentifiedError."""

    def model(x: Floats, asymptote: float, rate: float, midpoint: float) -> Floats:
        return start + (asymptote - start) / (1.0 + (midpoint / x) ** rate)

    highest = float(y.max())
    guess = (highest, 1.5, float(np.median(x)))
    bounds = ((start, 0.05, 1e-3 * float(x[0])), (1.0 if highest <= 1.0 else 2 * highest, STEEPEST, 10 * float(x[-1])))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", OptimizeWarning)
            found, covariance = cast(tuple[Any, Any], curve_fit(model, x, y, p0=np.clip(guess, *bounds), bounds=bounds, maxfev=20_000))
    except (RuntimeError, OptimizeWarning) as error:
        raise NotIdentifiedError("no sigmoid fits the learning curve") from error
    widths = np.sqrt(np.diag(covariance)) * float(stdtrit(len(x) - 3, 0.975))
    if not all(math.isfinite(width) for width in widths) or found[1] > 0.99 * STEEPEST:
        raise NotIdentifiedError("the learning curve does not determine a sigmoid")
    return [float(value) for value in found], [float(width) for width in widths]
