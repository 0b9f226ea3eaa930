"""Rewards to advantages: A = r - V, with no division by the standard deviation (paper, Algorithm 1, step 3).

Pure Python on purpose: what a rollout is worth does not depend on an engine. The one choice is over which rollouts
V is the mean; `Baseline` names it. A set of rollouts that share one V is called a baseline set.

Two kinds of rollouts teach nothing and are left out:

1. a baseline set whose rewards are all equal: its advantages are all zero (the paper skips such groups);
2. a rollout whose grader or environment failed (`ERROR`, `TIMEOUT`): its reward says nothing about the policy, so it
   enters neither V nor the loss.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from espl_bench.types import Trajectory, TrajectoryGroup, all_equal


class Baseline(StrEnum):
    """Over which rollouts of a problem the baseline V is the mean."""

    PER_PROMPT = "per_prompt"
    """The G rollouts of one problem in one prompt slot: the paper's V_{i,b}. A prompt that fills two of the K slots has
    two baselines, as in the reference code."""
    ACROSS_PROMPTS = "across_prompts"
    """All K*G rollouts of one problem, whatever their prompt: the paper's variant ``marginalize``."""


@dataclass(frozen=True, slots=True)
class AdvantagedTrajectory:
    """A trajectory with what it was worth."""

    trajectory: Trajectory
    advantage: float
    """Reward minus the baseline, in units of reward."""


def compute_advantages(groups_KP: Sequence[TrajectoryGroup], baseline: Baseline) -> list[AdvantagedTrajectory]:
    """Subtract from each reward the mean of its baseline set.

    Args:
        groups_KP: the groups of one iteration, flat, in any order; one per prompt slot and problem.
        baseline: which rollouts share a mean.

    Returns:
        The trajectories that carry a signal, set by set in the order of the groups. The advantages of each set sum to
        zero up to rounding.
    """
    return [scored for rollouts in _baseline_sets(groups_KP, baseline) for scored in _centre_set(rollouts)]


def _baseline_sets(groups_KP: Sequence[TrajectoryGroup], baseline: Baseline) -> Iterable[list[Trajectory]]:
    if baseline is Baseline.PER_PROMPT:
        return [list(group.trajectories_G) for group in groups_KP]
    by_problem: dict[str, list[Trajectory]] = {}
    for group in groups_KP:
        by_problem.setdefault(group.problem.id, []).extend(group.trajectories_G)
    return by_problem.values()


def _centre_set(rollouts: Sequence[Trajectory]) -> list[AdvantagedTrajectory]:
    graded = [rollout for rollout in rollouts if rollout.outcome.graded]
    rewards = [rollout.reward for rollout in graded]
    if all_equal(rewards):
        return []
    return [AdvantagedTrajectory(rollout, advantage) for rollout, advantage in zip(graded, centred(rewards), strict=True)]


def centred(rewards: Sequence[float]) -> list[float]:
    """The rewards of one baseline set minus their mean."""
    mean = math.fsum(rewards) / len(rewards)
    return [reward - mean for reward in rewards]
