"""Base class of environments in which a policy calls tools, reads their replies, and answers in the end.

A turn of the policy is read as calls (calls.py); a turn without any is its answer, and is graded. The observation of a malformed
call is a line that says what is wrong. `ToolLimits` bound an episode: beyond them it ends as truncated, and names the limit.
Every reply of a tool passes through `sanitize` first.

A subclass names its `tools` and says how they are used (`use`) and how an answer is graded (`grade`).
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from espl_bench.environment.text_env import Info, TextEnv, Verdict
from espl_bench.errors import EnvError, UsageError
from espl_bench.tools.calls import Reading, Request, read_calls
from espl_bench.tools.sanitize import sanitize
from espl_bench.tools.tool_server import ToolServer
from espl_bench.tools.tool_spec import BadArgumentsError, ToolSpec
from espl_bench.types import Limit, Observation, Outcome, Problem, ToolCall
from espl_bench.utils.numbers import is_whole
from espl_bench.utils.reasoning import strip_reasoning

FAULTS = "error"
"""Name of the speaker of replies to malformed calls."""
FAILURE = "Error: "
"""Begins such a reply, and that of a tool that cannot do what it is asked for."""
LAST_CALL = "That was the last call you have. Answer now."


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """Limits of an episode, each at least 1."""

    turns: int = 8
    """Turns of the policy, including the answer."""
    calls: int = 6
    """Valid calls; malformed ones do not count."""
    reply_chars: int = 4_000
    """Characters of one reply. A longer one is truncated, with a mark."""
    heard_chars: int = 40_000
    """Characters of all replies of an episode: once reached, further calls get no reply."""

    def __post_init__(self) -> None:
        """Raise UsageError for a limit that is not a whole number from 1."""
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not is_whole(value):
                raise UsageError(f"max_{limit.name} must be a whole number from 1, not {value!r}")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A turn of the policy that called tools, and the replies: what a harness needs to render it in a model's own tool format."""

    said: str
    """The policy's text outside its calls."""
    calls: tuple[ToolCall, ...]
    """Parallel to `observations` if every call was valid; else only the valid ones."""
    observations: tuple[Observation, ...]
    """One reply for each attempt at a call, in the order of the attempts."""


class ToolEnv(TextEnv):
    """Episodes of several turns: calls of tools, then an answer."""

    tools: ClassVar[Any]
    """Tools that the policy may call: a tuple of `ToolSpec`, or a server that offers them, such as `espl_bench.tools.mcp.McpTools`."""

    def __init__(self, limits: ToolLimits) -> None:
        super().__init__()
        self.limits = limits
        self._turns = self._calls = self._heard = 0

    def offer(self, tools: Sequence[ToolSpec]) -> None:
        """Let this instance have tools of its own, in place of its class's."""
        vars(self)["tools"] = tools

    @property
    def turns(self) -> int:
        """Maximum number of turns."""
        return self.limits.turns

    def prepare(self) -> None:
        """Connect with the server of the tools, if they have one. Raises EsplError if it cannot be used."""
        if isinstance(self.tools, ToolServer):
            self.tools.hold(self)

    def close(self) -> None:
        """Let go of the server of the tools."""
        if isinstance(self.tools, ToolServer):
            self.tools.release(self)
        super().close()

    def use(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Return a tool's reply: foreign text, which the caller sanitizes and truncates. By default the server of the tools gives it.

        Args:
            tool: one of the `tools`.
            arguments: valid by its spec.

        Raises:
            BadArgumentsError: the tool cannot do that; the message is shown to the policy.
            EnvError: the tool failed. The episode ends as an error, which says nothing about the policy.
        """
        if not isinstance(self.tools, ToolServer):
            raise EnvError(f"{type(self).__name__} has tools and no server of them; write its method `use`")
        return self.tools.use(self, tool, arguments)

    @abstractmethod
    def grade(self, problem: Problem, response: str) -> Verdict:
        """Grade the answer: pure, bounded in time, never evaluating what a model wrote."""

    def is_called_by(self, action: str) -> bool:
        """Return True if a turn calls a tool, or tries to, and so is not an answer."""
        return bool(read_calls(strip_reasoning(action), self.tools).requests)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Start an episode with fresh counts."""
        self._turns = self._calls = self._heard = 0
        return super().reset(seed=seed, options=options)

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        """Reply to calls, or grade the answer and end."""
        reading = read_calls(strip_reasoning(action), self.tools)
        if not reading.requests:
            self.current = None
            verdict = self.grade(problem, action)
            return "", verdict.reward, True, False, verdict.info
        limit = self._count(reading)
        observations = () if limit else self._replies(reading.requests)
        self._heard += sum(len(reply.text) for reply in observations)
        if limit is not None:
            self.current = None
            return "", 0.0, False, True, {"outcome": Outcome.TRUNCATED, "limit": limit}
        calls = tuple(request.call for request in reading.requests if request.call is not None)
        return as_text(observations), 0.0, False, False, {"exchange": Exchange(reading.said, calls, observations)}

    def _count(self, reading: Reading) -> Limit | None:
        """Count a turn and its calls; return the limit they exceed, if any."""
        self._turns += 1
        self._calls += sum(request.call is not None for request in reading.requests)
        if self._calls > self.limits.calls:
            return Limit.CALLS
        if self._heard >= self.limits.heard_chars:
            return Limit.OBSERVATIONS
        return Limit.TURNS if self._turns >= self.limits.turns else None  # no turn is left for an answer

    def _replies(self, requests: Sequence[Request]) -> tuple[Observation, ...]:
        recalled = self.recalled_replies()
        replies = [self._reply(request, recalled, index) for index, request in enumerate(requests)]
        if self._calls == self.limits.calls:
            last = replies[-1]
            replies[-1] = Observation(f"{last.text.removesuffix(LAST_CALL).rstrip()}\n{LAST_CALL}", last.tool)
        return tuple(replies)

    def _reply(self, request: Request, recalled: Sequence[Observation] | None, index: int) -> Observation:
        tool = FAULTS if request.call is None else request.call.tool
        if recalled is not None:
            if index >= len(recalled):
                raise EnvError(f"the stored episode has no reply of {tool} to this call")
            return Observation(recalled[index].text, tool)
        if request.call is None:
            return Observation(sanitize(f"{FAILURE}{request.problem}", self.limits.reply_chars), FAULTS)
        try:
            return Observation(sanitize(self.use(tool, request.arguments), self.limits.reply_chars), tool)
        except BadArgumentsError as fault:
            return Observation(sanitize(f"{FAILURE}{fault}", self.limits.reply_chars), tool)


def failed(reply: Observation) -> bool:
    """Return whether a reply to a call says that the call was malformed, or that the tool refused it."""
    return reply.tool == FAULTS or (reply.tool is not None and reply.text.startswith(FAILURE))


def as_text(observations: Sequence[Observation]) -> str:
    """Render replies as one user message, a tool's in tags of its own and any other as is."""
    return "\n".join(reply.text if reply.tool is None else f"<tool_response>\n{reply.text}\n</tool_response>" for reply in observations)
