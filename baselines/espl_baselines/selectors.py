"""Selectors of related work, for any method that breeds: Thompson sampling, Pareto fronts, and a softmax of moving averages.

Each orders the window; the places are then taken as for the paper's selectors (`selection.take`): the newest prompt always has one.
What each takes from its paper is in docs/rivals.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from espl_bench.evolution.history import History
from espl_bench.evolution.selection import take
from espl_bench.types import SystemPrompt

TIE: Final = 1e-9
"""Mean rewards closer than this share a front."""


@dataclass(frozen=True, slots=True)
class Thompson:
    """Thompson sampling: draws each prompt's skill from its rating, a normal distribution, and orders by what it drew."""

    include_newest: bool = True

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Order by one draw for each prompt, highest first."""
        drawn = [rng.normal(prompt.rating.mu, prompt.rating.sigma) for prompt in window]
        return take(_descending(window, drawn), num_prompts, self.include_newest)


@dataclass(frozen=True, slots=True)
class Pareto:
    """GEPA's selection: draws from the Pareto front of single problems, a prompt in proportion to the problems it is best on."""

    include_newest: bool = True

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Draw from the front without replacement (Gumbel-top-k); prompts outside the front follow, best mean reward first."""
        won = wins(window, history)
        noise = rng.gumbel(size=len(window))
        front = [index for index, prompt in enumerate(window) if won.get(prompt.id)]
        front.sort(key=lambda index: -(np.log(won[window[index].id]) + noise[index]))
        means = {prompt.id: _mean(history, prompt.id) for prompt in window}
        rest = sorted((prompt for prompt in window if not won.get(prompt.id)), key=lambda prompt: (-means[prompt.id], prompt.id))
        return take([*(window[index] for index in front), *rest], num_prompts, self.include_newest)


@dataclass(frozen=True, slots=True)
class MovingAverage:
    """Draws with p proportional to exp(moving average of rewards / temperature), without replacement, as INSPO's instruction weights."""

    temperature: float = 0.1
    """In units of reward."""
    include_newest: bool = True

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Order by logit plus Gumbel noise. A prompt without rollouts has its first parent's average, or the highest of all."""
        known = history.recent
        highest = max(known.values(), default=0.0)
        weights = [known.get(prompt.id, known.get(next(iter(prompt.lineage.parent_ids), -1), highest)) for prompt in window]
        noisy = np.array(weights) / self.temperature + rng.gumbel(size=len(window))
        return take(_descending(window, noisy.tolist()), num_prompts, self.include_newest)


def wins(window: Sequence[SystemPrompt], history: History) -> Mapping[int, int]:
    """Count, for each prompt that no others dominate, the problems on which no prompt of the window has a higher mean reward.

    As in GEPA a prompt is dominated if on each of its problems another one is as good, of those that are left; the worst are looked at
    first. A problem is compared among the prompts that were rolled out on it.
    """
    best: dict[str, float] = {}
    for prompt in window:
        for problem, earned in history.of(prompt.id).items():
            best[problem] = max(best.get(problem, earned.mean), earned.mean)
    fronts = {
        prompt.id: {problem for problem, earned in history.of(prompt.id).items() if earned.mean >= best[problem] - TIE} for prompt in window
    }
    for prompt in sorted(window, key=lambda prompt: (_mean(history, prompt.id), prompt.id)):
        others = [problems for other, problems in fronts.items() if other != prompt.id]
        if fronts[prompt.id] and fronts[prompt.id] <= set().union(*others):
            fronts[prompt.id] = set()
    return {prompt: len(problems) for prompt, problems in fronts.items()}


def _mean(history: History, prompt_id: int) -> float:
    """Return the mean reward of all rollouts of a prompt; 0 without any."""
    earned = history.of(prompt_id).values()
    return sum(each.total for each in earned) / max(1, sum(each.rollouts for each in earned))


def _descending(window: Sequence[SystemPrompt], scores: Sequence[float]) -> list[SystemPrompt]:
    """Sort by score, highest first; of equals, the older."""
    return [prompt for prompt, _ in sorted(zip(window, scores, strict=True), key=lambda pair: (-pair[1], pair[0].id))]


THOMPSON: Final = Thompson()
PARETO: Final = Pareto()
MOVING_AVERAGE: Final = MovingAverage()
