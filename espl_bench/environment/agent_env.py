"""Environments whose episodes are played by an agent of somebody else: any program that speaks the chat completions API.

The agent gets a question, the address of a gateway and a key. It asks for as many completions as it likes, in conversations of its own
making, and hands in a text in the end, which is graded. The gateway keeps every token that was sampled, so that the episode is a rollout
like any other. How a run's prompt reaches the agent's conversations, and how they become token sequences: docs/gateway.md.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from espl_bench.environment.text_env import SingleTurnEnv


@dataclass(frozen=True, slots=True)
class AgentTask:
    """What an agent is given."""

    question: str
    """The problem as the dialect words it."""
    base_url: str
    """Of the chat completions API, for this episode alone: an OpenAI client's `base_url`."""
    api_key: str = field(repr=False)
    model: str
    """The model's name in requests."""


class AgentEnv(SingleTurnEnv):
    """A problem, an agent that works on it, and a grade for what the agent hands in.

    An episode's action is what was handed in: `step`, and so `espl-bench env check` and `espl-bench verify`, grade it without the agent.
    Grade the text alone, not what the agent left behind.
    """

    agent_seconds: float = 300.0
    """Time that an agent may take of its own, without what it waits for completions. A longer one ends the episode as a timeout."""
    agent_completions: int = 16
    """Completions of an episode. The next request is refused; an agent that then fails ends the episode as truncated."""
    episodes_at_once: ClassVar[int | None] = 32

    @property
    def turns(self) -> int:
        """Maximum number of completions."""
        return self.agent_completions

    def agent_identity(self) -> Mapping[str, str]:
        """Return hashes that identify the agent, by name: a run resumes only with the same ones. Grading again needs no agent."""
        return {}

    @abstractmethod
    def play(self, task: AgentTask) -> str | Awaitable[str]:
        """Let the agent work, and return what it hands in: at once, or as a coroutine. Called in a thread of its own.

        `self.current` is the problem. An exception ends the episode as an error, which says nothing about the policy.
        """
