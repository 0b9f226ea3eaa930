"""Scores at equal budget: each method's score when it had spent as much as the others.

A run's learning curve is interpolated linearly between its evaluations. The budget is the largest that every learning run
has reached. Generated tokens include the editor's tokens, seconds its time, and cost what an endpoint charges for its
prompts and completions. No budget includes evaluations. A method that does not learn has the same score at any budget.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

from espl_bench.accounting.usage import Spent
from espl_bench.errors import RunDirError
from espl_bench.leaderboard.grouping import TestGroup, mean
from espl_bench.runs.summary import CurvePoint, Summary
from espl_bench.stats import Interval, seed_interval


class MatchAxis(StrEnum):
    """Quantity that is held equal."""

    ROLLOUTS = "rollouts"
    GENERATED_TOKENS = "generated_tokens"
    TRAIN_TOKENS = "train_tokens"
    SECONDS = "seconds"
    COST = "cost"

    def of(self, spent: Spent) -> float:
        """Return the amount spent on this axis."""
        match self:
            case MatchAxis.ROLLOUTS:
                return spent.rollouts
            case MatchAxis.GENERATED_TOKENS:
                return spent.generated_tokens + spent.reflection_tokens
            case MatchAxis.TRAIN_TOKENS:
                return spent.train_tokens
            case MatchAxis.SECONDS:
                return spent.seconds
            case MatchAxis.COST:
                return spent.cost_usd or 0.0


@dataclass(frozen=True, slots=True)
class MatchedRow:
    """Score of one method at the budget."""

    method: str
    seeds: tuple[int, ...]
    score: float
    ci95: Interval | None
    """Interval over training seeds, on these items; None for one seed."""
    difference: float | None
    """Difference to the reference on the seeds that both have."""
    difference95: Interval | None


@dataclass(frozen=True, slots=True)
class Matched:
    """Scores of the methods of one test at one budget."""

    env: str
    model: str
    budget: MatchAxis
    amount: float
    split: Literal["validation", "test"]
    """Split of the learning curves that were read."""
    reference: str
    rows: tuple[MatchedRow, ...]
    """Best score first."""
    left_out: tuple[str, ...] = ()
    """Ids of the runs without such a curve: they are in no row."""


def match(test: TestGroup, budget: MatchAxis, wanted: str | None) -> Matched:
    """Compare the methods of one test at the largest budget that all have reached.

    Reads the test curve if every learning run was tested during training, else the validation curve. A run without one is left out and
    named. Raises RunDirError if no run has such a curve, or if none spent anything of the budget.
    """
    runs = [run for method in test.methods.values() for run in method.runs.values()]
    tested = [len(_points(run, "test")) > 1 for run in runs if run.steps]
    split = "test" if tested and all(tested) else "validation"
    missing = [run for run in runs if not _points(run, split)]
    if len(missing) == len(runs):
        raise RunDirError(f"run {missing[0].run_id} has no {split} scores from training to match budgets with; use --test-every")
    learning = [run for run in runs if run.steps and _points(run, split)]
    if budget is MatchAxis.COST:
        _refuse_unpriced(learning, split)
    reached = [max(budget.of(point.spent) for point in _points(run, split)) for run in learning]
    spending = [most for most in reached if most > 0]
    if not spending:
        raise RunDirError(f"no run on {test.env} spent any {budget.value}; match another budget")
    amount = min(spending)
    scores = {
        label: {seed: _score_at(run, split, budget, amount) for seed, run in method.runs.items() if _points(run, split)}
        for label, method in test.methods.items()
    }
    reference = test.reference(wanted)
    rows = [_row(label, of_label, scores[reference] if label != reference else {}) for label, of_label in scores.items() if of_label]
    best_first = tuple(sorted(rows, key=lambda row: (-row.score, row.method)))
    return Matched(test.env, test.model, budget, amount, split, reference, best_first, tuple(run.run_id for run in missing))


def _refuse_unpriced(learning: Iterable[Summary], split: str) -> None:
    for run in learning:
        if any(point.spent.cost_usd is None for point in _points(run, split)):
            raise RunDirError(f"run {run.run_id} has no cost: it used no endpoint, or one without a price; match seconds instead")


def _points(run: Summary, split: str) -> list[CurvePoint]:
    return [point for point in run.curve if point.split == split]


def _score_at(run: Summary, split: str, budget: MatchAxis, amount: float) -> float:
    """Interpolate the curve at one amount: linear between evaluations, constant after the last."""
    points = sorted(
        {budget.of(point.spent): point.score for point in _points(run, split)}.items()
    )  # of evaluations at one amount, the last
    return float(np.interp(amount, [spent for spent, _ in points], [score for _, score in points]))


def _row(label: str, scores: dict[int, float], reference: dict[int, float]) -> MatchedRow:
    values = [scores[seed] for seed in sorted(scores)]
    gaps = [scores[seed] - reference[seed] for seed in sorted(scores.keys() & reference.keys())]
    return MatchedRow(
        method=label,
        seeds=tuple(sorted(scores)),
        score=mean(values),
        ci95=seed_interval(values),
        difference=mean(gaps) if gaps else None,
        difference95=seed_interval(gaps) if gaps else None,
    )
