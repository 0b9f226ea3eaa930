"""Answer an environment's problems as a policy would, to see how it grades and what it says in between."""

from dataclasses import dataclass
from typing import Final

from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import EnvError
from espl_bench.types import Problem

MAX_TURNS: Final = 100
"""Turns within which every episode must end by itself."""


@dataclass(frozen=True, slots=True)
class AnsweredProblem:
    """An episode in which every turn was the same text."""

    reward: float
    """Sum over the steps."""
    outcome: object
    """An `Outcome`, if the environment keeps the contract."""
    truncated: bool
    replies: tuple[str, ...]
    """What the environment said between the turns, with that text cut out."""


def play(env: TextEnv, problem: Problem, text: str) -> AnsweredProblem:
    """Answer `text` to everything until the episode ends. Raises EnvError if it does not."""
    env.reset(options={"split": problem.split, "index": problem.index})
    replies: list[str] = []
    earned = 0.0
    for _ in range(MAX_TURNS):
        reply, reward, terminated, truncated, info = env.step(text)
        earned += float(reward)
        if terminated or truncated:
            return AnsweredProblem(earned, info.get("outcome"), truncated, tuple(replies))
        replies.append(reply.replace(text, "") if text else reply)
    raise EnvError(f"the episode of {problem.id} has not ended after {MAX_TURNS} turns")
