"""Evaluation on a held-out split: every item, k samples each, the same seeds for every method.

The seeds name run seed, split, item and sample, and nothing else: two methods of one seed meet the same items with the
same draws, which is what makes their difference a paired one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from espl_bench.engines.engine import SamplingClient
from espl_bench.rollouts.outcomes import outcome_rates
from espl_bench.rollouts.rollout import RolloutSpec, roll_out
from espl_bench.rollouts.watchdog import Watchdog
from espl_bench.types import Outcome, Problem, Split, SystemPrompt, TrajectoryGroup

CHUNK = 512
"""Episodes sampled between two progress reports."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Result of one prompt and one state of the weights on one split."""

    step: int
    split: Split
    prompt_id: int
    groups_I: tuple[TrajectoryGroup, ...]
    """One group of samples for each item, in order."""
    parts: Mapping[str, range] = field(default_factory=dict[str, range])
    """The environment's parts of the split (`TextEnv.parts`)."""

    @property
    def scores_IG(self) -> tuple[tuple[float, ...], ...]:
        """Return the rewards, items x samples. A failure of the grader counts 0 here and shows in `outcomes`."""
        return tuple(tuple(rollout.reward for rollout in group.trajectories_G) for group in self.groups_I)

    @property
    def outcomes(self) -> dict[Outcome, float]:
        """Return the share of each outcome among all samples."""
        return outcome_rates([rollout for group in self.groups_I for rollout in group.trajectories_G])

    @property
    def measures(self) -> dict[str, float]:
        """Return the mean of each measure over all samples; a sample without it, which ended without an answer, counts 0."""
        rollouts = [rollout for group in self.groups_I for rollout in group.trajectories_G]
        names = sorted({name for rollout in rollouts for name in rollout.measures})
        return {name: sum(rollout.measures.get(name, 0.0) for rollout in rollouts) / len(rollouts) for name in names}

    @property
    def item_scores(self) -> tuple[float, ...]:
        """Return the mean reward of each item."""
        return tuple(sum(row) / len(row) for row in self.scores_IG)

    @property
    def score(self) -> float:
        """Return avg@k: the mean over items of the mean over samples."""
        return sum(self.item_scores) / len(self.item_scores)

    @property
    def part_scores(self) -> dict[str, float]:
        """Return the mean of the items of each part."""
        return part_scores(self.item_scores, self.parts)


def part_scores(item_scores: Sequence[float], parts: Mapping[str, range]) -> dict[str, float]:
    """Return the mean score of each part's items."""
    return {name: sum(item_scores[index] for index in items) / len(items) for name, items in parts.items()}


async def evaluate(
    client: SamplingClient,
    spec: RolloutSpec,
    prompt: SystemPrompt,
    problems: Sequence[Problem],
    samples: int,
    step: int,
    progress: Callable[[int, int], None],
    watchdog: Watchdog | None = None,
) -> Evaluation:
    """Roll out the prompt on all problems of one split. `progress(done, total)` counts episodes."""
    split = problems[0].split
    size = max(1, CHUNK // samples)
    groups: list[TrajectoryGroup] = []
    for start in range(0, len(problems), size):
        progress(start * samples, len(problems) * samples)
        chunk = problems[start : start + size]
        groups.extend(await roll_out(client, spec, [prompt], chunk, samples, split.value, watchdog=watchdog))
    progress(len(problems) * samples, len(problems) * samples)
    return Evaluation(step, split, prompt.id, tuple(groups))
