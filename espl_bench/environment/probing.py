"""Answer an environment's problems as a policy would, to see how it grades and what it says in between."""

from dataclasses import dataclass
from typing import Final

from espl_bench.environment.text_env import TextEnv
from espl_bench.errors import UsageError
from espl_bench.types import Outcome, Problem

MAX_TURNS: Final = 100
"""Turns after which an episode is given up."""


@dataclass(frozen=True, slots=True)
class AnsweredProblem:
    """An episode in which every turn was the same text."""

    reward: float
    outcome: Outcome
    replies: tuple[str, ...]
    """What the environment said between the turns, with that text cut out."""


def answer_throughout(env: TextEnv, problem: Problem, text: str) -> AnsweredProblem:
    """Answer `text` to everything until the episode ends. Raises UsageError if it does not."""
    env.reset(options={"split": problem.split, "index": problem.index})
    replies: list[str] = []
    for _ in range(MAX_TURNS):
        reply, reward, terminated, truncated, info = env.step(text)
        if terminated or truncated:
            return AnsweredProblem(float(reward), info["outcome"], tuple(replies))
        replies.append(reply.replace(text, "") if text else reply)
    raise UsageError(f"the episode of {problem.id} has not ended after {MAX_TURNS} turns of the same answer, so no control can be checked")
