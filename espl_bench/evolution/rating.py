"""TrueSkill ratings of system prompts: the update after a ranking, and what a child inherits.

The update itself is the package ``trueskill``, used through an environment object of our own (never its global
one). Settings: paper. The inheritance rules are Algorithm 1 and appendix B of the paper.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import trueskill  # pyright: ignore[reportMissingTypeStubs]  (the package ships no types)

from espl_bench.types import Rating

TIE: Final = 0.01
"""Mean rewards at most this far apart are a draw (paper, Algorithm 1, rating step)."""
TIE_SLACK: Final = 1e-9
"""Tolerance for rounding: 0.31 - 0.30 is slightly more than 0.01 in floating point and still counts as a draw."""

BETA: Final = 25.0 / 6.0
"""Spread of one performance around the skill."""

# backend=None is the package's own normal distribution, so that an installed scipy or mpmath changes no bit.
_ENVIRONMENT: Final[Any] = trueskill.TrueSkill(mu=25.0, sigma=25.0 / 3.0, beta=BETA, tau=25.0 / 300.0, draw_probability=0.10, backend=None)


def rate_by_means(ratings: Mapping[int, Rating], means: Mapping[int, float], tie: float = TIE) -> dict[int, Rating]:
    """Update ratings once by the ranking of prompts by mean reward, highest first (paper, Algorithm 1).

    Args:
        ratings: prompt id to rating before the update; prompts without a mean come back unchanged.
        means: prompt id to mean reward over the batch. A prompt rolled out twice has one mean and counts once.
        tie: means within this of the *best* mean of their tie group are draws. Comparing with the group's first
            member rather than the neighbour keeps a chain of small steps from becoming one large draw: with means 0.520, 0.512, 0.504 the
            first two draw and the third is behind both.

    Returns:
        Prompt id to rating after the update. A single prompt has nothing to be compared with and is unchanged.

    Raises:
        ValueError: a mean has no rating, or is not finite.
    """
    if missing := sorted(means.keys() - ratings.keys()):
        raise ValueError(f"means for prompts that have no rating: {missing}")
    if broken := sorted(prompt_id for prompt_id, mean in means.items() if not math.isfinite(mean)):
        raise ValueError(f"mean rewards that are not finite, prompts: {broken}")
    updated = dict(ratings)
    if len(means) > 1:
        order = sorted(means, key=lambda prompt_id: (-means[prompt_id], prompt_id))
        ranks = _ranks([means[prompt_id] for prompt_id in order], tie)
        rated = _trueskill_update([ratings[prompt_id] for prompt_id in order], ranks)
        updated.update(zip(order, rated, strict=True))
    return updated


def _ranks(descending: Sequence[float], tie: float) -> list[int]:
    """Rank means that are sorted from high to low: 0 is best, equal means a draw."""
    ranks: list[int] = []
    leader = descending[0]
    for index, mean in enumerate(descending):
        if leader - mean > tie + TIE_SLACK:
            leader = mean
            ranks.append(index)
        else:
            ranks.append(ranks[-1] if ranks else 0)
    return ranks


def _trueskill_update(ratings: Sequence[Rating], ranks: Sequence[int]) -> list[Rating]:
    """Apply the package's update to one-player teams."""
    teams = [(_ENVIRONMENT.create_rating(rating.mu, rating.sigma),) for rating in ratings]
    rated = cast(list[tuple[Any]], _ENVIRONMENT.rate(teams, ranks=list(ranks)))
    return [Rating(mu=float(player.mu), sigma=float(player.sigma)) for (player,) in rated]


def mutation_child(parent: Rating, growth: float) -> Rating:
    """Rate a mutated child: mu of the parent, sigma' = sqrt(sigma^2 + growth^2).

    Paper, appendix B (and the reference code); Algorithm 1 prints sigma + growth, which this project does not follow.
    ``growth`` is the paper's delta sigma (it sets 1.0), in rating points.
    """
    return Rating(mu=parent.mu, sigma=math.sqrt(parent.sigma**2 + growth**2))


def crossover_child(parents: Sequence[Rating], growth: float) -> Rating:
    """Rate a crossover child: the precision-weighted mean of its parents (paper, Algorithm 1, appendix B).

    mu' = sum(mu_i / sigma_i^2) / sum(1 / sigma_i^2) and sigma'^2 = 1 / sum(1 / sigma_i^2) + growth^2.
    With one parent this is :func:`mutation_child`. Raises ValueError without parents.
    """
    if not parents:
        raise ValueError("a crossover child needs at least one parent")
    precision = sum(parent.sigma**-2 for parent in parents)
    mu = sum(parent.mu * parent.sigma**-2 for parent in parents) / precision
    return Rating(mu=mu, sigma=math.sqrt(1.0 / precision + growth**2))


def conservative(rating: Rating, width: float) -> float:
    """Return a lower bound of the skill, mu - width * sigma: high only for prompts that are good and well known."""
    return rating.mu - width * rating.sigma


def optimistic(rating: Rating, width: float) -> float:
    """Return an upper bound of the skill, mu + width * sigma: high also for prompts that are little known."""
    return rating.mu + width * rating.sigma
