"""Learning curves of the methods of one test: means over training seeds with intervals, over steps or any cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

from espl_bench.leaderboard.grouping import MethodRuns, TestGroup, mean
from espl_bench.leaderboard.match import MatchAxis
from espl_bench.runs.summary import CurvePoint, Summary
from espl_bench.stats import seed_interval

CurveSplit = Literal["validation", "test"]
CURVE_SPLITS: tuple[CurveSplit, ...] = ("validation", "test")
GRID = 60
"""Points of a curve whose x values differ between seeds."""


class Axis(StrEnum):
    """Horizontal axis of a learning curve."""

    ITERATIONS = "iterations"
    ROLLOUTS = "rollouts"
    TOKENS = "tokens"
    """Generated tokens, including the editor's."""
    TRAIN_TOKENS = "train_tokens"
    SECONDS = "seconds"
    """Time of iterations, including reflections."""

    def of(self, point: CurvePoint) -> float:
        """Locate an evaluation on this axis."""
        match self:
            case Axis.ITERATIONS:
                return point.step
            case Axis.ROLLOUTS:
                return MatchAxis.ROLLOUTS.of(point.spent)
            case Axis.TOKENS:
                return MatchAxis.GENERATED_TOKENS.of(point.spent)
            case Axis.TRAIN_TOKENS:
                return MatchAxis.TRAIN_TOKENS.of(point.spent)
            case Axis.SECONDS:
                return MatchAxis.SECONDS.of(point.spent)


@dataclass(frozen=True, slots=True)
class Band:
    """Curve of one method. A method that does not learn has a single point, valid at any budget."""

    method: str
    seeds: tuple[int, ...]
    x: tuple[float, ...]
    mean: tuple[float, ...]
    """Mean over the seeds, a share in 0..1."""
    low: tuple[float, ...] | None
    """With `high`, the 95 % t interval over training seeds, clipped to 0..1; None for one seed."""
    high: tuple[float, ...] | None


def bands(test: TestGroup, axis: Axis, split: CurveSplit) -> tuple[Band, ...]:
    """Compute the curves of all methods that were evaluated on the split and have the axis, in the order of the test."""
    curves = (_band(label, method, axis, split) for label, method in test.methods.items())
    return tuple(band for band in curves if band)


def _band(label: str, method: MethodRuns, axis: Axis, split: CurveSplit) -> Band | None:
    curves_R = [_curve(run, axis, split) for run in method.runs.values()]
    if not all(curves_R):
        return None
    x = _x_values(curves_R, shared=axis is Axis.ITERATIONS)
    if not x:
        return None
    values_RX = np.stack([np.interp(x, [own_x for own_x, _ in curve], [score for _, score in curve]) for curve in curves_R])
    intervals = [seed_interval(values_RX[:, column]) for column in range(len(x))]
    known = [interval for interval in intervals if interval]
    return Band(
        method=label,
        seeds=tuple(method.runs),
        x=tuple(x),
        mean=tuple(mean(values_RX[:, column]) for column in range(len(x))),
        low=tuple(max(0.0, low) for low, _ in known) if known else None,
        high=tuple(min(1.0, high) for _, high in known) if known else None,
    )


def _curve(run: Summary, axis: Axis, split: CurveSplit) -> list[tuple[float, float]]:
    """Return (x, score) pairs in ascending order, keeping the last score of each x. A run that did not learn has one pair."""
    points = [point for point in run.curve if point.split == split]
    if not run.steps:
        return [(0.0, points[-1].score)] if points else []
    return sorted({axis.of(point): point.score for point in points}.items())


def _x_values(curves_R: Sequence[Sequence[tuple[float, float]]], shared: bool) -> list[float]:
    """Choose the x values of the mean: evaluations that all seeds share, or an even grid over their common range."""
    if shared or len(curves_R) == 1:
        everywhere = frozenset[float].intersection(*(frozenset(x for x, _ in curve) for curve in curves_R))
        return [x for x, _ in curves_R[0] if x in everywhere]
    start, end = max(curve[0][0] for curve in curves_R), min(curve[-1][0] for curve in curves_R)
    if end < start:
        return []
    return [start] if end == start else np.linspace(start, end, GRID).tolist()
