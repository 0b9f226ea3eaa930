"""Shares of outcomes: of a batch, of a whole run, and the warning where too many answers could not be graded.

A timeout or an error is a failure of the grader or the environment and says nothing about the policy. It is left out of learning
and counts 0 in a score, so a score beside many of them is not to be trusted, and that is said wherever the score is.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from espl_bench.types import Outcome, Trajectory
from espl_bench.utils.formatting import percent

LOUD_RATE: Final = 0.01
"""Share of timeouts and errors beyond which figures are not to be trusted."""

Shares = Mapping[str, float] | Mapping[Outcome, float]
"""Outcome → share, by the enum or by its value, which are equal."""


def outcome_rates(trajectories: Sequence[Trajectory]) -> dict[Outcome, float]:
    """Share of each outcome that occurred, most frequent kinds named in the enum's order."""
    total = len(trajectories)
    counts = {outcome: sum(t.outcome is outcome for t in trajectories) for outcome in Outcome}
    return {outcome: count / total for outcome, count in counts.items() if count}


def mean_shares(steps: Sequence[Shares]) -> dict[str, float]:
    """The shares of all rollouts of several steps, which have equally many; empty without any."""
    sums = {outcome: sum(step.get(outcome, 0.0) for step in steps) for outcome in Outcome}
    return {outcome.value: total / len(steps) for outcome, total in sums.items() if total}


def failure_rate(shares: Shares) -> float:
    """Share of answers that could not be graded."""
    return sum(share for outcome, share in shares.items() if not Outcome(outcome).graded)


def failure_warning(shares: Shares, of_what: str) -> str | None:
    """One line, if more than `LOUD_RATE` of the answers could not be graded."""
    if failure_rate(shares) <= LOUD_RATE:
        return None
    kinds = ", ".join(f"{Outcome(each).value} {percent(share)}" for each, share in shares.items() if share and not Outcome(each).graded)
    return f"! {percent(failure_rate(shares))} of {of_what} could not be graded ({kinds}): do not trust these figures; the rollouts say why"


def warnings_of(test: Shares, training: Shares) -> list[str]:
    """What is to be said about a whole run."""
    found = (failure_warning(test, "the test answers"), failure_warning(training, "the training rollouts"))
    return [line for line in found if line]
