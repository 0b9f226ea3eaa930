"""Rewards of each living prompt on each problem: the memory that Pareto fronts, bandits and reflective operators use."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from espl_bench.types import TrajectoryGroup

NEWEST_WEIGHT: Final = 0.3
"""Weight of the newest step in a moving average of rewards; earlier ones decay by the rest."""


@dataclass(frozen=True, slots=True)
class Earned:
    """Rewards of one prompt on one problem, over all steps so far."""

    total: float
    rollouts: int
    """Number of graded rollouts; at least 1."""

    @property
    def mean(self) -> float:
        """Return the mean reward of a rollout."""
        return self.total / self.rollouts


@dataclass(frozen=True, slots=True)
class History:
    """Prompt id → problem id → rewards of its graded rollouts. Prompts that left the population are forgotten."""

    by_prompt: Mapping[int, Mapping[str, Earned]] = field(default_factory=dict[int, Mapping[str, Earned]])
    recent: Mapping[int, float] = field(default_factory=dict[int, float])
    """Prompt id → moving average of its mean reward in the steps that rolled it out (`NEWEST_WEIGHT`); the first mean starts it.

    Empty in checkpoints of versions that kept none.
    """

    def of(self, prompt_id: int) -> Mapping[str, Earned]:
        """Return the rewards of a prompt, by problem; empty if it was not rolled out yet."""
        return self.by_prompt.get(prompt_id, {})

    def record(self, groups_KP: Sequence[TrajectoryGroup]) -> "History":
        """Add the graded rollouts of one step."""
        touched: dict[int, dict[str, Earned]] = {}
        earned: dict[int, list[float]] = {}
        for group in groups_KP:
            if rewards := group.graded_rewards:
                row = touched.setdefault(group.prompt_id, dict(self.of(group.prompt_id)))
                before = row.get(group.problem.id, Earned(0.0, 0))
                row[group.problem.id] = Earned(before.total + sum(rewards), before.rollouts + len(rewards))
                earned.setdefault(group.prompt_id, []).extend(rewards)
        moved = {prompt: self._moved(prompt, sum(rewards) / len(rewards)) for prompt, rewards in earned.items()}
        return History({**self.by_prompt, **touched}, {**self.recent, **moved})

    def _moved(self, prompt_id: int, mean: float) -> float:
        before = self.recent.get(prompt_id, mean)
        return before + NEWEST_WEIGHT * (mean - before)

    def keep(self, prompt_ids: Collection[int]) -> "History":
        """Forget all prompts but these."""
        return History(
            {prompt: earned for prompt, earned in self.by_prompt.items() if prompt in prompt_ids},
            {prompt: average for prompt, average in self.recent.items() if prompt in prompt_ids},
        )
