"""Controls: runs in which what a method is said to learn from is taken away, so that whatever still improves did not come from it.

- random-reward: every training rollout's reward is a coin flip. Whoever still improves does so from the form of training alone.
- shuffled-answers: every training problem has the truth of another one. Graders and the editor believe it.
- irrelevant-prompt: the policy is shown as many principles as its prompt holds, of things that have nothing to do with the task.

A control changes nothing of an evaluation but, the last one, its prompt. It is part of a run's configuration and of its row in a
table, which says where a control is better than the untreated base model.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from itertools import cycle, islice
from typing import TYPE_CHECKING

from espl_bench.errors import UsageError
from espl_bench.seeding import rng_for, seed_for
from espl_bench.types import Outcome, Problem, Split, Trajectory, TrajectoryGroup

if TYPE_CHECKING:
    from espl_bench.config.run_config import RunConfig
    from espl_bench.environment.text_env import TextEnv

FEWEST = 4
"""Irrelevant principles that stand in for a prompt with fewer of its own."""
PROBED = 8
"""Training problems whose grading is tried before a run with other answers begins."""


class Control(StrEnum):
    """What is taken away."""

    RANDOM_REWARD = "random-reward"
    SHUFFLED_ANSWERS = "shuffled-answers"
    IRRELEVANT_PROMPT = "irrelevant-prompt"

    @property
    def taken_away(self) -> str:
        """What such a run cannot learn from."""
        match self:
            case Control.RANDOM_REWARD:
                return "rewards"
            case Control.SHUFFLED_ANSWERS:
                return "true answers"
            case Control.IRRELEVANT_PROMPT:
                return "what prompts say"


def environment_of(config: "RunConfig") -> "TextEnv":
    """The environment of a run, its control included. Raises UsageError if it cannot be made."""
    from espl_bench.registry import find_environment, make_environment

    env = make_environment(find_environment(config.env), config.env_options)
    return with_shuffled_answers(env, config.seed) if config.control is Control.SHUFFLED_ANSWERS else env


def with_shuffled_answers(env: "TextEnv", seed: int) -> "TextEnv":
    """The same instance, in which every training problem has the answer and the gold response of another one."""
    serve, size = env.problem, env.size(Split.TRAIN)

    def problem(split: Split, index: int) -> Problem:
        own = serve(split, index)
        if split is not Split.TRAIN:
            return own
        other = serve(split, _others(seed, size)[index])
        return replace(own, answer=other.answer, gold=other.gold)

    env.problem = problem  # what `reset` asks for, so an episode believes it, too
    return env


@lru_cache(maxsize=8)
def _others(seed: int, size: int) -> tuple[int, ...]:
    """For each of `size` problems another one, drawn as one cycle through all of them."""
    order = rng_for(seed, "control", Control.SHUFFLED_ANSWERS.value).permutation(size)
    following = dict(zip(order.tolist(), [*order[1:].tolist(), int(order[0])], strict=True))
    return tuple(following[index] for index in range(size))


def refuse_unmoved(env: "TextEnv", name: str) -> None:
    """Raise UsageError if the environment grades by something else than its problems' answers, so that other answers change nothing."""
    size = env.size(Split.TRAIN)
    if size < 2:
        raise UsageError(f"environment '{name}' has {size} training problems, and answers are shuffled among two or more")
    for index in range(min(size, PROBED)):
        env.reset(options={"split": Split.TRAIN, "index": index})
        _, reward, terminated, _, info = env.step(env.problem(Split.TRAIN, index).gold)
        if terminated and (reward < 1.0 or info["outcome"] is not Outcome.CORRECT):
            raise UsageError(f"environment '{name}' does not grade by its problems' answers; use another --control than shuffled-answers")


def with_random_rewards(groups_KP: Sequence[TrajectoryGroup], seed: int, step: int) -> tuple[TrajectoryGroup, ...]:
    """The same rollouts, each graded by a coin that seed, step, place in the batch and sample name. What could not be graded stays so."""
    return tuple(
        replace(group, trajectories_G=tuple(_tossed(each, seed, step, place) for each in group.trajectories_G))
        for place, group in enumerate(groups_KP)
    )


def _tossed(trajectory: Trajectory, seed: int, step: int, place: int) -> Trajectory:
    if not trajectory.outcome.graded:
        return trajectory
    heads = seed_for(seed, "control", Control.RANDOM_REWARD.value, step, place, trajectory.sample) % 2 == 1
    return replace(trajectory, reward=float(heads), outcome=Outcome.CORRECT if heads else Outcome.WRONG)


def stand_in(principles: Sequence[str], irrelevant: Sequence[str]) -> tuple[str, ...]:
    """As many irrelevant principles as there are principles, at least `FEWEST`; they repeat where they do not suffice."""
    return tuple(islice(cycle(irrelevant), max(len(principles), FEWEST)))
