"""Rewards to advantages: A = r - V (paper, Algorithm 1, step 3), in up to three steps that a method names.

Pure Python on purpose: advantages do not depend on an engine.

1. A *baseline* says which rollouts are compared with each other (a baseline set) and what V is. The paper's V is their mean.
2. A *normalisation* rescales the differences of one set. The paper divides by nothing; GRPO divides by the standard deviation.
3. A *reduction* says whether the loss is a sum over tokens (paper) or a mean over all tokens of the step. Every loss is
   proportional to the size of the advantages, so that a mean is smaller advantages.

Two kinds of rollouts teach nothing and are left out:

1. a baseline set whose rewards are all equal: its advantages are all zero (the paper skips such groups);
2. a rollout whose grader or environment failed (`ERROR`, `TIMEOUT`): its reward says nothing about the policy, so it
   enters neither V nor the loss.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from espl_bench.registry import BASELINES, NORMALISATIONS, find
from espl_bench.types import Trajectory, TrajectoryGroup, all_equal

Normalisation = Callable[[Sequence[float]], Sequence[float]]
"""Rescales the differences r - V of one baseline set, not all of which are zero."""
Reduction = Literal["sum", "token_mean"]


class Baseline(Protocol):
    """Defines the value that a reward is compared with."""

    def key(self, problem_id: str, prompt_id: int, slot: int) -> Hashable:
        """Return equal keys for rollouts that are compared with each other.

        Args:
            problem_id: the problem.
            prompt_id: the prompt of the rollout.
            slot: number of earlier slots with the same prompt in the step: a prompt may fill several of the K slots.
        """
        ...

    def value(self, rewards: Sequence[float]) -> float:
        """Return V of one set."""
        ...


@dataclass(frozen=True, slots=True)
class PerPrompt:
    """Compares the G rollouts of one problem in one prompt slot: the paper's V_{i,b}.

    A prompt that fills two of the K slots has two baselines, as in the reference code.
    """

    def key(self, problem_id: str, prompt_id: int, slot: int) -> Hashable:
        """Combine prompt, slot and problem."""
        return prompt_id, slot, problem_id

    def value(self, rewards: Sequence[float]) -> float:
        """Return the mean."""
        return math.fsum(rewards) / len(rewards)


@dataclass(frozen=True, slots=True)
class AcrossPrompts:
    """Compares all K·G rollouts of one problem, whatever their prompt: the paper's variant ``marginalize``."""

    def key(self, problem_id: str, prompt_id: int, slot: int) -> Hashable:
        """Return the problem alone."""
        return problem_id

    def value(self, rewards: Sequence[float]) -> float:
        """Return the mean."""
        return math.fsum(rewards) / len(rewards)


PER_PROMPT: Final = PerPrompt()
ACROSS_PROMPTS: Final = AcrossPrompts()


def unscaled(differences: Sequence[float]) -> Sequence[float]:
    """Leave the differences as they are (paper)."""
    return differences


def by_standard_deviation(differences: Sequence[float]) -> Sequence[float]:
    """Divide by the set's standard deviation, its mean taken as 0 (GRPO, arXiv 2402.03300, without a small constant)."""
    deviation = math.sqrt(math.fsum(value * value for value in differences) / len(differences))
    return [value / deviation for value in differences]


def find_baseline(name: str) -> Baseline:
    """Return a baseline by name. Raises UsageError with the nearest known name."""
    return find(BASELINES, name)


def find_normalisation(name: str) -> Normalisation:
    """Return a normalisation by name. Raises UsageError with the nearest known name."""
    return find(NORMALISATIONS, name)


@dataclass(frozen=True, slots=True)
class AdvantagedTrajectory:
    """A trajectory with its advantage."""

    trajectory: Trajectory
    advantage: float
    """Reward minus baseline, in units of reward unless a normalisation or a reduction changed them."""


def compute_advantages(
    groups_KP: Sequence[TrajectoryGroup],
    baseline: Baseline = PER_PROMPT,
    normalisation: Normalisation = unscaled,
    reduction: Reduction = "sum",
) -> list[AdvantagedTrajectory]:
    """Compare each reward with its baseline.

    Args:
        groups_KP: the groups of one iteration, flat, in any order; one per prompt slot and problem.
        baseline: groups rollouts into sets, and gives V of each.
        normalisation: scales the differences of a set.
        reduction: sum over tokens, or mean over the tokens of the step.

    Returns:
        The trajectories that carry a signal, set by set in the order of the groups. With a baseline that is the mean, the
        advantages of each set sum to zero up to rounding.
    """
    sets: dict[Hashable, list[Trajectory]] = {}
    seen: dict[tuple[int, str], int] = {}
    for group in groups_KP:
        slot = seen.get((group.prompt_id, group.problem.id), 0)
        seen[group.prompt_id, group.problem.id] = slot + 1
        key = baseline.key(group.problem.id, group.prompt_id, slot)
        sets.setdefault(key, []).extend(rollout for rollout in group.trajectories_G if rollout.outcome.graded)
    advantaged = [pair for rollouts in sets.values() for pair in _compared(rollouts, baseline, normalisation)]
    return _averaged(advantaged) if reduction == "token_mean" else advantaged


def differences(rewards: Sequence[float], baseline: Baseline) -> list[float]:
    """Return the rewards of one baseline set minus its V."""
    value = baseline.value(rewards)
    return [reward - value for reward in rewards]


def _compared(rollouts: Sequence[Trajectory], baseline: Baseline, normalisation: Normalisation) -> list[AdvantagedTrajectory]:
    rewards = [rollout.reward for rollout in rollouts]
    if all_equal(rewards):
        return []
    advantages = normalisation(differences(rewards, baseline))
    return [AdvantagedTrajectory(rollout, advantage) for rollout, advantage in zip(rollouts, advantages, strict=True)]


def _averaged(advantaged: Sequence[AdvantagedTrajectory]) -> list[AdvantagedTrajectory]:
    tokens = sum(pair.trajectory.generated_tokens for pair in advantaged)
    return [replace(pair, advantage=pair.advantage / max(1, tokens)) for pair in advantaged]
