"""Shares of outcomes in a batch or a whole run, and the warning if too many answers could not be graded.

A timeout or an error is a failure of the grader or the environment and says nothing about the policy. It is left out of learning and
counts 0 in a score, so a score with many of them cannot be trusted; wherever it is shown, a warning says so.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from espl_bench.types import Outcome, Trajectory
from espl_bench.utils.formatting import percent

LOUD_RATE: Final = 0.01
"""Share of timeouts and errors above which figures cannot be trusted."""

Shares = Mapping[str, float] | Mapping[Outcome, float]
"""Outcome → share. Keys are enum members or their values, which compare equal."""


def outcome_rates(trajectories: Sequence[Trajectory]) -> dict[Outcome, float]:
    """Return the share of each outcome that occurred, in the enum's order."""
    total = len(trajectories)
    counts = {outcome: sum(t.outcome is outcome for t in trajectories) for outcome in Outcome}
    return {outcome: count / total for outcome, count in counts.items() if count}


def mean_shares(steps: Sequence[Shares]) -> dict[str, float]:
    """Average the shares of several steps with equally many rollouts; empty without any."""
    sums = {outcome: sum(step.get(outcome, 0.0) for step in steps) for outcome in Outcome}
    return {outcome.value: total / len(steps) for outcome, total in sums.items() if total}


def failure_rate(shares: Shares) -> float:
    """Return the share of answers that could not be graded."""
    return sum(share for outcome, share in shares.items() if not Outcome(outcome).graded)


def failure_warning(shares: Shares, of_what: str) -> str | None:
    """Return one line if more than `LOUD_RATE` of the answers could not be graded."""
    if failure_rate(shares) <= LOUD_RATE:
        return None
    kinds = ", ".join(f"{Outcome(kind).value} {percent(share)}" for kind, share in shares.items() if share and not Outcome(kind).graded)
    return f"! {percent(failure_rate(shares))} of {of_what} could not be graded ({kinds}): do not trust these figures; the rollouts say why"


UNANSWERED: Final = 3
"""Iterations without a single answer after which a run says so."""


def answer_hint(shares: Shares, of_what: str) -> str | None:
    """Return one line with the remedy if not a single text held an answer; None if one did."""
    missing = shares.get(Outcome.NO_ANSWER, 0.0), shares.get(Outcome.TRUNCATED, 0.0)
    if not shares or sum(missing) < 1 - 1e-9:
        return None
    if missing[0] >= missing[1]:
        remedy = (
            "look at one with `espl-bench show RUN --rollout 0`: if it answers in another form, choose where the answer is found "
            "(of the mathematics environments: --env-option extraction=anywhere), else see whether the chat template is the model's own"
        )
    else:
        remedy = (
            "they were cut at their limit: raise --max-tokens, or set --thinking off if the model thinks; `espl-bench show RUN --rollout 0`"
        )
    return f"! none of {of_what} holds an answer; {remedy}"


def warnings_of(test: Shares, training: Shares) -> list[str]:
    """Return the warnings about a whole run."""
    warnings = (failure_warning(test, "the test answers"), failure_warning(training, "the training rollouts"))
    return [line for line in warnings if line]
