"""Score an episode as verifiers does: its conversation becomes a trace, and the task's rewards are functions of that."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from espl_bench.environment.text_env import Verdict
from espl_bench.errors import EnvError, first_line
from espl_bench.tools.tool_env import Exchange
from espl_bench.types import Outcome
from espl_bench.utils.reasoning import CLOSE, OPEN, strip_reasoning


@dataclass
class Conversation:
    """A task's conversation as a trace of verifiers."""

    task: Any
    messages: list[Any] = field(default_factory=list[Any])
    state: Any = None
    """What the task's tools share with its rewards."""

    def __post_init__(self) -> None:
        self._types = import_module("verifiers.v1.types")
        self._graph = import_module("verifiers.v1.graph")
        traces = import_module("verifiers.v1.trace")
        agent = traces.AgentInfo(config=import_module("verifiers.v1.configs.agent").AgentConfig())
        recorded = traces.TraceTask(type=type(self.task).__name__, data=self.task.data, key=self.task.key, hash=self.task.hash)
        self.trace = traces.Trace(task=recorded, agent=agent)
        if self.state is not None:
            self.trace.state = self.state
        data = self.task.data
        if data.system_prompt:
            self.messages.append(self._types.SystemMessage(content=data.system_prompt))
        self.messages.extend([self._types.UserMessage(content=data.prompt)] if isinstance(data.prompt, str) else data.prompt)

    def say(self, text: str, exchange: Exchange | None = None) -> None:
        """Add a turn of the policy, and what its calls were answered."""
        said = strip_reasoning(text) if exchange is None else exchange.said
        reasoning = text.partition(CLOSE)[0].replace(OPEN, "").strip() if CLOSE in text else None
        pairs = list(zip(exchange.calls, exchange.observations, strict=False)) if exchange else []
        calls = [
            self._types.ToolCall(id=f"call_{len(self.messages)}_{place}", name=call.tool, arguments=call.arguments)
            for place, (call, _) in enumerate(pairs)
        ]
        message = self._types.AssistantMessage(content=said, reasoning_content=reasoning, tool_calls=calls or None)
        response = self._types.Response(
            id=f"{len(self.messages)}", created=0, model="policy", message=message, finish_reason="tool_calls" if calls else "stop"
        )
        self._graph.prepare_turn(self.trace, list(self.messages)).commit(response)
        self.messages.append(message)
        for call, (_, reply) in zip(calls, pairs, strict=True):
            self.messages.append(self._types.ToolMessage(tool_call_id=call.id, content=reply.text, name=call.name))
        if exchange is not None and not pairs:
            self.messages.append(self._types.UserMessage(content="\n".join(reply.text for reply in exchange.observations)))

    def verdict(self) -> Verdict:
        """Score the conversation. Raises EnvError if a reward fails, or is missing."""
        try:
            asyncio.run(self.task.score(self.trace, None))
        except Exception as error:  # the taskset's code runs here, and may raise anything
            cause = error.__cause__ or error
            raise EnvError(f"the taskset's score failed: {type(cause).__name__}: {first_line(cause)}") from error
        rewards: Mapping[str, Any] = self.trace.rewards
        if not rewards or any(reward is None for reward in rewards.values()):
            missing = ", ".join(name for name, reward in rewards.items() if reward is None) or "all"
            raise EnvError(f"the taskset gave no reward ({missing})")
        reward = float(self.trace.reward)
        best = sum(max(each.weight, 0.0) for each in rewards.values())
        outcome = Outcome.CORRECT if reward >= best - 1e-9 and best > 0 else Outcome.WRONG if self.trace.last_reply else Outcome.NO_ANSWER
        return Verdict(outcome, reward, None, self._measures(tuple(rewards)))

    def _measures(self, rewards: Sequence[str]) -> dict[str, float]:
        """Return its metrics, and its rewards one by one where there are several."""
        several = {name: float(self.trace.rewards[name].score) for name in rewards} if len(rewards) > 1 else {}
        return {**several, **{name: float(value) for name, value in self.trace.metrics.items() if value is not None}}
