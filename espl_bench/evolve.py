"""The words' half of an iteration: rate the batch's prompts, breed from the best, admit the children."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from espl_bench.evolution.acceptance import Trial, find_acceptance
from espl_bench.evolution.operators.editor import Editor
from espl_bench.evolution.operators.operator import StepView, find_operator
from espl_bench.evolution.operators.proposal import Child, EditLimits
from espl_bench.evolution.population import Population
from espl_bench.method import Method
from espl_bench.types import Rating, Rejected, SystemPrompt, TrajectoryGroup


@dataclass(frozen=True, slots=True)
class Generation:
    """The changes that one iteration made to the population."""

    population: Population
    means: dict[int, float]
    """Mean reward of each prompt of the batch."""
    ratings: dict[int, Rating]
    """Ratings of the same prompts after the step, including any that a child then displaced."""
    born: tuple[tuple[SystemPrompt, Child], ...]
    rejected: tuple[Rejected, ...]


def mean_rewards(groups_KP: Sequence[TrajectoryGroup]) -> dict[int, float]:
    """Map prompt id to mean reward over its graded rollouts. A prompt sampled twice counts once, with all its rollouts."""
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
    trial: Trial,
    breed: bool = True,
) -> Generation:
    """Rate and remember; if words learn in this step, let each operator propose children and admit those that are accepted.

    Args:
        method: whose operators and acceptance rule.
        population: before the step.
        groups_KP: the step's rollouts.
        editor: writes the reflections.
        limits: bounds on a child.
        tie: mean rewards this close are a draw.
        rng: shared by the operators, in their order.
        trial: rollouts for an acceptance rule that needs them.
        breed: whether words learn in this step. Ratings are updated in every step.
    """
    means = mean_rewards(groups_KP)
    if not method.operators or not means:
        return Generation(population, means, {prompt: population.get(prompt).rating for prompt in means}, (), ())
    population = population.rate(means, tie).record(groups_KP)
    rated = {prompt: population.get(prompt) for prompt in means}
    ranked = sorted(rated.values(), key=lambda prompt: (-means[prompt.id], -prompt.rating.mu))
    view = StepView(editor.step + 1, tuple(ranked), tuple(groups_KP), population)
    children, rejected = await _children(method, view, editor, limits, rng, trial) if breed else ((), ())
    born: list[tuple[SystemPrompt, Child]] = []
    for child in children:
        population = population.admit(child.principles, child.rating, child.lineage)
        born.append((population.newest, child))
    ratings = {prompt: member.rating for prompt, member in rated.items()}
    return Generation(population, means, ratings, tuple(born), tuple(rejected))


async def _children(
    method: Method, view: StepView, editor: Editor, limits: EditLimits, rng: np.random.Generator, trial: Trial
) -> tuple[Sequence[Child], Sequence[Rejected]]:
    """Return the children to admit, and those that were rejected."""
    acceptance = find_acceptance(method.acceptance)
    children: list[Child] = []
    rejected: list[Rejected] = []
    for operator in map(find_operator, method.operators):
        for proposed in await operator.propose(view, editor, limits, rng):
            if isinstance(proposed, Rejected):
                rejected.append(proposed)
                continue
            judgement = await acceptance.judge(proposed, view, trial)
            if judgement.admitted:
                children.append(replace(proposed, acceptance=judgement.detail))
            else:
                lineage = proposed.lineage
                rejected.append(Rejected(view.step, lineage.origin, lineage.parent_ids, "not_accepted", judgement.detail))
    return children, rejected
