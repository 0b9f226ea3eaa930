"""Rewards of each living prompt on each problem: the memory that Pareto fronts, bandits and reflective operators use."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from espl_bench.types import TrajectoryGroup


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

    def of(self, prompt_id: int) -> Mapping[str, Earned]:
        """Return the rewards of a prompt, by problem; empty if it was not rolled out yet."""
        return self.by_prompt.get(prompt_id, {})

    def record(self, groups_KP: Sequence[TrajectoryGroup]) -> "History":
        """Add the graded rollouts of one step."""
        touched: dict[int, dict[str, Earned]] = {}
        for group in groups_KP:
            if rewards := group.graded_rewards:
                row = touched.setdefault(group.prompt_id, dict(self.of(group.prompt_id)))
                before = row.get(group.problem.id, Earned(0.0, 0))
                row[group.problem.id] = Earned(before.total + sum(rewards), before.rollouts + len(rewards))
        return History({**self.by_prompt, **touched})

    def keep(self, prompt_ids: Collection[int]) -> "History":
        """Forget all prompts but these."""
        return History({prompt: earned for prompt, earned in self.by_prompt.items() if prompt in prompt_ids})
