"""Replay recorded rollouts under other selectors, and measure the regret of each against held-out scores. No model is loaded.

The prompts of a run, their parents and the iterations of their births are kept as recorded; only which of the living prompts an iteration
rolls out is decided again, by the selector under study. A prompt that it picks earns rewards that the run recorded for it. What the run
recorded is divided by problem: one half is what selectors learn from, the other, which they never see, is what a prompt is worth.

    rollout regret  the best living prompt's held-out score minus the mean of those rolled out, averaged over the iterations
    final regret    the best living prompt's held-out score at the end, minus that of the prompt that would be shown

The best of several scores with noise is too high, so both are too, by the same for every selector: they compare, and are no absolute
distances. A replay cannot tell which prompts another selection would have bred, and where weights learned, a prompt's rewards are those
of the weights that it met. Prompts that the run rolled out on one half only are left out.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from espl_bench.errors import RunDirError, UsageError
from espl_bench.evolution.population import Population
from espl_bench.evolution.rating import crossover_child, mutation_child
from espl_bench.evolution.selection import find_selector
from espl_bench.evolve import mean_rewards
from espl_bench.method import Method
from espl_bench.runs.population_events import BornEvent, read_events
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import RunDir
from espl_bench.seeding import rng_for, seed_for
from espl_bench.types import Lineage, Outcome, Problem, Rating, Split, SystemPrompt, Trajectory, TrajectoryGroup

Rewards = Mapping[int, Mapping[str, Sequence[float]]]
"""Prompt → problem → rewards of its graded rollouts, all iterations together."""
Progress = Callable[[int, int], None]
"""Callback with the finished replays and their total."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a replay needs of a run."""

    method: Method
    places: int
    """Prompts of an iteration."""
    problems: int
    """Problems of an iteration."""
    samples: int
    """Rollouts of a problem under one prompt."""
    growth: float
    """Uncertainty that a child's rating gains."""
    tie: float
    steps: int
    root: tuple[str, ...]
    births: Mapping[int, Sequence[BornEvent]]
    """By iteration."""
    seen: Rewards
    """On the half of the problems that selectors learn from."""
    scores: Mapping[int, float]
    """Prompt → mean reward on the other half."""

    @classmethod
    def of(cls, run: RunDir) -> "Recorded":
        """Read a run, finished or not. Raises UsageError if it selected nothing, RunDirError for a damaged log or missing rollouts."""
        config = run.config()
        method, steps = config.method, run.rollout_steps()
        if not method.operators or method.population_size == 1:
            raise UsageError(f"{run.path}: {method.name} selects no prompts, so there is nothing to replay; name runs that breed several")
        if steps and len(steps) < steps[-1]:
            missing = next(step for step in itertools.count(1) if step not in set(steps))
            raise RunDirError(f"{run.path} has no rollouts of step {missing}, so its selections cannot be replayed; bring them back")
        births: dict[int, list[BornEvent]] = {}
        for event in read_events(run):
            if isinstance(event, BornEvent) and event.step > 0:
                births.setdefault(event.step, []).append(event)
        seen, unseen = _halves(run, steps)
        scores = {prompt: _mean(problems) for prompt, problems in unseen.items() if prompt in seen}
        batch, evolution = config.batch, config.evolution
        return cls(
            method=method,
            places=batch.num_prompts,
            problems=batch.batch_size,
            samples=batch.group_size,
            growth=evolution.sigma_growth,
            tie=evolution.tie,
            steps=max(steps, default=0),
            root=evolution.root_principles,
            births=births,
            seen=seen,
            scores=scores,
        )


@dataclass(frozen=True, slots=True)
class Regret:
    """How far a selector stays behind the best living prompt, in units of reward."""

    rollout: float
    final: float


def replay(recorded: Recorded, selector: str, draw: int) -> Regret:
    """Replay a run once under a selector. `draw` numbers the replays of a run: each draws other recorded rewards."""
    population = Population.start(recorded.root, recorded.method.population_size)
    select, behind = find_selector(selector).select, list[float]()
    for step in range(1, recorded.steps + 1):
        rng = rng_for(draw, "replay", step)
        if known := _known(population, recorded):
            picked = select(known, population.history, recorded.places, rng)
            behind.append(_best(known, recorded) - sum(recorded.scores[prompt.id] for prompt in picked) / len(picked))
            groups = [group for prompt in picked for group in _rewarded(recorded, prompt.id, rng)]
            population = population.rate(mean_rewards(groups), recorded.tie).record(groups)
        for born in recorded.births.get(step, ()):
            lineage = Lineage(born.origin, born.parents, born.step)
            population = population.admit(born.principles, _inherited(population, born, recorded.growth), lineage)
    known = _known(population, recorded)
    if not known:
        raise UsageError("no prompt of the run was rolled out on both halves of the problems; name a longer run")
    shown = recorded.method.evolved_prompt(Population(known, population.next_id, len(known)))
    return Regret(sum(behind) / len(behind), _best(known, recorded) - recorded.scores[shown.id])


def regrets(runs: Sequence[Recorded], selectors: Sequence[str], draws: int, progress: Progress) -> dict[str, list[Regret]]:
    """Replay every run `draws` times under every selector; return each selector's regret in each run, averaged over the draws."""
    total, found = len(runs) * len(selectors), dict[str, list[Regret]]()
    for number, (selector, run) in enumerate((selector, run) for selector in selectors for run in runs):
        progress(number, total)
        each = [replay(run, selector, draw) for draw in range(draws)]
        mean = Regret(sum(one.rollout for one in each) / draws, sum(one.final for one in each) / draws)
        found.setdefault(selector, []).append(mean)
    progress(total, total)
    return found


def _halves(run: RunDir, steps: Sequence[int]) -> tuple[Rewards, Rewards]:
    """Divide the recorded rewards by problem: those that selectors see, and those that they do not."""
    halves: tuple[dict[int, dict[str, list[float]]], ...] = ({}, {})
    for step in steps:
        for row in run.read_rollouts(step, RolloutRow.parse):
            if row.outcome.graded:
                half = halves[seed_for(0, "held out", row.problem_id) % 2]
                half.setdefault(row.prompt_id, {}).setdefault(row.problem_id, []).append(row.reward)
    seen, unseen = halves
    return seen, unseen


def _known(population: Population, recorded: Recorded) -> tuple[SystemPrompt, ...]:
    return tuple(prompt for prompt in population.members if prompt.id in recorded.scores)


def _best(prompts: Sequence[SystemPrompt], recorded: Recorded) -> float:
    return max(recorded.scores[prompt.id] for prompt in prompts)


def _rewarded(recorded: Recorded, prompt: int, rng: np.random.Generator) -> list[TrajectoryGroup]:
    """Draw the rewards of one place of an iteration: problems without replacement as far as there are enough, rewards with."""
    rewards = recorded.seen[prompt]
    names = sorted(rewards)
    drawn = (
        rng.permutation(len(names))[: recorded.problems]
        if len(names) >= recorded.problems
        else rng.integers(len(names), size=recorded.problems)
    )
    groups: list[TrajectoryGroup] = []
    for name in (names[int(index)] for index in drawn):
        problem = Problem(name, Split.TRAIN, 0, "", "", "")
        earned = rng.choice(np.array(rewards[name]), size=recorded.samples)
        rollouts = tuple(Trajectory(problem, prompt, i, (), float(reward), Outcome.CORRECT) for i, reward in enumerate(earned))
        groups.append(TrajectoryGroup(problem, prompt, rollouts))
    return groups


def _inherited(population: Population, born: BornEvent, growth: float) -> Rating:
    """Rate a child from its parents as the replay has rated them; parents that left keep the rating the run gave the child."""
    living = {member.id: member.rating for member in population.members}
    parents = [living[parent] for parent in born.parents if parent in living]
    if not parents:
        return Rating(born.mu, born.sigma)
    return mutation_child(parents[0], growth) if len(parents) == 1 else crossover_child(parents, growth)


def _mean(problems: Mapping[str, Sequence[float]]) -> float:
    """Return the mean over problems of the mean over rollouts."""
    return sum(sum(rewards) / len(rewards) for rewards in problems.values()) / len(problems)
