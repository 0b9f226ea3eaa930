"""The words' half of an iteration: rate the batch's prompts, breed from the best, admit the children."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espl_bench.evolution.operators.crossover import cross
from espl_bench.evolution.operators.mutation import mutate
from espl_bench.evolution.operators.proposal import Child, EditLimits
from espl_bench.evolution.operators.reflection import Editor
from espl_bench.evolution.population import Population
from espl_bench.method import Method
from espl_bench.types import Origin, Rating, Rejected, SystemPrompt, TrajectoryGroup


@dataclass(frozen=True, slots=True)
class Generation:
    """What one iteration did to the population."""

    population: Population
    means: dict[int, float]
    """Mean reward of each prompt of the batch."""
    ratings: dict[int, Rating]
    """What the same prompts were rated afterwards, those included that a child then displaced."""
    born: tuple[tuple[SystemPrompt, Child], ...]
    rejected: tuple[Rejected, ...]


def mean_rewards(groups_KP: Sequence[TrajectoryGroup]) -> dict[int, float]:
    """Prompt id → mean reward over its graded rollouts. A prompt that was sampled twice counts once, with all of them."""
    pooled: dict[int, list[float]] = {}
    for group in groups_KP:
        pooled.setdefault(group.prompt_id, []).extend(group.graded_rewards)
    return {prompt: sum(rewards) / len(rewards) for prompt, rewards in pooled.items() if rewards}


async def evolve(
    method: Method,
    population: Population,
    groups_KP: Sequence[TrajectoryGroup],
    editor: Editor,
    limits: EditLimits,
    tie: float,
    rng: np.random.Generator,
) -> Generation:
    """Rate, then let each operator of the method propose one child from the same groups; then admit the children."""
    means = mean_rewards(groups_KP)
    if not method.operators or not means:
        return Generation(population, means, {prompt: population.get(prompt).rating for prompt in means}, (), ())
    population = population.rate(means, tie)
    rated = {prompt: population.get(prompt) for prompt in means}
    ranked = sorted(rated.values(), key=lambda prompt: (-means[prompt.id], -prompt.rating.mu))
    best = ranked[0]
    proposals: list[Child | Rejected] = []
    for operator in method.operators:
        match operator:
            case Origin.MUTATION:
                own = [group for group in groups_KP if group.prompt_id == best.id]
                proposals.append(await mutate(best, own, editor, limits))
            case Origin.CROSSOVER:
                if rng.random() < method.crossover_prob:
                    proposals.append(await cross(best, ranked, groups_KP, editor, limits))
            case Origin.ROOT:
                raise ValueError("the root is no operator")
    born: list[tuple[SystemPrompt, Child]] = []
    for child in proposals:
        if isinstance(child, Child):
            population = population.admit(child.principles, child.rating, child.lineage)
            born.append((population.newest, child))
    ratings = {prompt: member.rating for prompt, member in rated.items()}
    return Generation(population, means, ratings, tuple(born), tuple(child for child in proposals if isinstance(child, Rejected)))
