"""Tasksets of verifiers as environments."""

import asyncio
import inspect
import json
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from math import ceil
from typing import Any, Final, cast

from espl_bench.environment.text_env import Info, SingleTurnEnv, TextEnv, Verdict
from espl_bench.errors import UsageError, first_line
from espl_bench.tools.tool_env import Exchange, ToolEnv, ToolLimits
from espl_bench.tools.tool_spec import BadArgumentsError, ToolSpec
from espl_bench.types import Problem, Split
from espl_bench.utils.numbers import is_whole
from espl_envs.verifiers_tasksets.scoring import Conversation
from espl_envs.verifiers_tasksets.tasksets import (
    TEST,
    TRAIN,
    VALIDATION,
    OpenedTaskset,
    open_taskset,
    question_of,
    system_prompt_of,
    toolsets_of,
)

SHARES: Final = {Split.TEST: 0.3, Split.VALIDATION: 0.2}
"""Most of a small taskset that a split takes; what is left trains."""


def make(
    taskset: str,
    system_prompt: str = "",
    config: Mapping[str, Any] | None = None,
    train: int = TRAIN,
    validation: int = VALIDATION,
    test: int = TEST,
    **limits: int,
) -> TextEnv:
    """Make the environment of a taskset.

    Args:
        taskset: name of its package.
        system_prompt: the one that the run's prompt says already; tasks with another say it in front of their question.
        config: the taskset's own options.
        train: most training items.
        validation: most validation items.
        test: most test items.
        limits: those of episodes with tools (`ToolLimits`): max_turns, max_calls, max_reply_chars, max_heard_chars.

    Raises UsageError for a taskset that cannot be used here.
    """
    for name, size in (("train", train), ("validation", validation), ("test", test)):
        if not is_whole(size):
            raise UsageError(f"{name} must be a whole number from 1, not {size!r}")
    opened = open_taskset(taskset, config or {})
    items = _Items(opened, system_prompt, {Split.TRAIN: train, Split.VALIDATION: validation, Split.TEST: test})
    if toolsets_of(opened.taskset, type(opened.tasks[0])):
        return ToolTasks(items, ToolLimits(**{name.removeprefix("max_"): value for name, value in limits.items()}))
    if limits:
        raise UsageError(f"verifiers:{taskset} has no tools, so it takes no {next(iter(limits))}")
    return OneTurnTasks(items)


class _Items:
    """The tasks of the splits. Splits are carved here: verifiers has none."""

    def __init__(self, opened: OpenedTaskset, system_prompt: str, most: Mapping[Split, int]) -> None:
        self.opened, self._system_prompt = opened, system_prompt
        self._tasks: dict[Split, list[Any]] = {}
        start, total = 0, len(opened.tasks)
        for split in (Split.TEST, Split.VALIDATION, Split.TRAIN):
            share = min(most[split], ceil(SHARES[split] * total) if split in SHARES else total - start)
            self._tasks[split] = list(opened.tasks[start : start + share])
            start += share

    @property
    def splits(self) -> tuple[Split, ...]:
        """Return those that have items."""
        return tuple(split for split in Split if self._tasks[split])

    def size(self, split: Split) -> int:
        """Count the items of a split."""
        return len(self._tasks[split])

    def task(self, problem: Problem) -> Any:
        """Return the task of a problem."""
        return self._tasks[problem.split][problem.index]

    def problem(self, split: Split, index: int) -> Problem:
        """Return an item. Its answer is what the task calls so, if anything."""
        task = self._tasks[split][index]
        own, question = system_prompt_of(task), question_of(task)
        answer = getattr(task.data, "answer", "")
        shown = question if own == self._system_prompt else f"{own}\n\n{question}"
        return Problem(f"{split}/{index}", split, index, shown, answer if isinstance(answer, str) else "")


class _OfItems(TextEnv):
    """An environment of these tasks."""

    items: _Items

    @property
    def splits(self) -> tuple[Split, ...]:
        """Return those that have items."""
        return self.items.splits

    def size(self, split: Split) -> int:
        """Count the items of a split."""
        return self.items.size(split)

    def problem(self, split: Split, index: int) -> Problem:
        """Return an item."""
        return self.items.problem(split, index)


class OneTurnTasks(_OfItems, SingleTurnEnv):
    """Tasks of one turn of a taskset of verifiers.

    Description:
        A task's prompt is the question, and its rewards are computed from the response as verifiers computes them.

    Action space:
        Text.

    Observation space:
        Text: the task's prompt.

    Rewards:
        The weighted sum of the task's rewards. An outcome is correct if that is all there is to earn. Metrics are measures.

    Episode end:
        Terminated after one response.

    Splits:
        Carved by a hash of the prompt, none of them in two splits: at most 100 test, 64 validation and 256 training items, and of a small
        taskset at most 30 % and 20 %.
    """

    def __init__(self, items: _Items) -> None:
        super().__init__()
        self.items = items

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Score the response."""
        conversation = Conversation(self.items.task(problem))
        conversation.say(response)
        return conversation.verdict()


class ToolTasks(_OfItems, ToolEnv):
    """Tasks of a taskset of verifiers whose tools run in this process. As `OneTurnTasks`, with calls of tools before the answer."""

    def __init__(self, items: _Items, limits: ToolLimits) -> None:
        super().__init__(limits)
        self.items = items
        opened = items.opened
        self._toolsets = toolsets_of(opened.taskset, type(opened.tasks[0]))
        described = [_described(toolset) for toolset in self._toolsets]
        self._functions = {
            spec.name: (toolset, function) for toolset, own in zip(self._toolsets, described, strict=True) for spec, function in own
        }
        self.tools = tuple(spec for own in described for spec, _ in own)  # pyright: ignore[reportAttributeAccessIssue]  # of this taskset
        self._is_set_up = False
        self._conversation: Conversation | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, Info]:
        """Start an episode, with fresh state in the tools."""
        question, info = super().reset(seed=seed, options=options)
        assert self.current is not None, "it was just set"
        task = self.items.task(self.current)
        asyncio.run(self._prepared(task))
        states = [toolset.state for toolset in self._toolsets]
        self._conversation = Conversation(task, state=states[0] if states else None)
        return question, info

    async def _prepared(self, task: Any) -> None:
        for toolset in self._toolsets:
            if not self._is_set_up:
                await toolset.setup()
            toolset._inert_state = type(toolset.state)()  # verifiers makes a process, or a channel, for the state of an episode
            await toolset.setup_task(task.data)
        self._is_set_up = True

    def use(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool. What it raises is told to the policy, as a server of tools does."""
        _, function = self._functions[tool]
        try:
            result = asyncio.run(_awaited(function, arguments))
        except Exception as error:
            raise BadArgumentsError(f"{type(error).__name__}: {first_line(error)}") from error
        return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)

    def respond(self, problem: Problem, action: str) -> tuple[str, float, bool, bool, Info]:
        """Reply to calls, and note what was said; or score, and end."""
        reply = super().respond(problem, action)
        exchange = reply[4].get("exchange")
        if isinstance(exchange, Exchange) and self._conversation is not None:
            self._conversation.say(action, exchange)
            if self.repeats:
                self._repeat(exchange)
        return reply

    def _repeat(self, exchange: Exchange) -> None:
        """Call the tools of a stored turn for what they change in the state, which rewards may read."""
        for call in exchange.calls:
            with suppress(BadArgumentsError):
                self.use(call.tool, json.loads(call.arguments))

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Score the whole conversation."""
        conversation = self._conversation or Conversation(self.items.task(problem))
        conversation.say(response)
        self._conversation = None
        return conversation.verdict()


async def _awaited(function: Any, arguments: Mapping[str, Any]) -> Any:
    result = function(**arguments)
    return await result if inspect.isawaitable(result) else result


def _described(toolset: Any) -> list[tuple[ToolSpec, Any]]:
    """Return the tools of a toolset, as its server would describe them, with their functions."""
    discover = import_module("verifiers.v1.utils.decorators").discover_decorated
    server = import_module("mcp.server.mcpserver").MCPServer("tools")
    functions = {getattr(function, "tool_name", None) or function.__name__: function for function in discover(toolset, "tool")}
    for name, function in functions.items():
        server.add_tool(function, name=name, description=inspect.getdoc(function) or name)
    prefix = f"{toolset.server_name}_" if toolset.server_name else ""
    described: list[tuple[ToolSpec, Any]] = []
    for tool in cast(list[Any], asyncio.run(server.list_tools())):
        schema = getattr(tool, "input_schema", None) or tool.inputSchema
        described.append((ToolSpec.of_schema(f"{prefix}{tool.name}", tool.description or "", schema), functions[tool.name]))
    return described
