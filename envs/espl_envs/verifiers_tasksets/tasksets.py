"""Open a taskset of verifiers, and find out whether its rewards can be computed here.

A reward that asks for a runtime is left out by verifiers where there is none: the reward of every response would be 0. So a taskset is
refused, with the reason in one line, if anything of it needs a container, a runtime, another model or an environment of its own.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import islice
from typing import Any

from espl_bench.errors import EsplError, UsageError, first_line

MOST_TASKS = 2_000
"""Tasks that are read of a taskset."""
TEST, VALIDATION, TRAIN = 100, 64, 256
"""Most items of the splits."""


@dataclass(frozen=True, slots=True)
class OpenedTaskset:
    """A taskset whose rewards can be computed here."""

    taskset: Any
    tasks: Sequence[Any]
    """In an order of their own hashes, so that splits do not follow the order of the data; without duplicates."""

    @property
    def system_prompt(self) -> str:
        """The system prompt, if all tasks have the same; else an empty text."""
        prompts = {system_prompt_of(task) for task in self.tasks}
        return next(iter(prompts)) if len(prompts) == 1 else ""


def open_taskset(name: str, config: Mapping[str, Any]) -> OpenedTaskset:
    """Load a taskset by the name of its package. Raises UsageError if there is none of that name, or if it cannot be used here."""
    found = _opened(name, json.dumps(dict(config), sort_keys=True, default=str))
    if isinstance(found, UsageError):
        raise found
    return found


@lru_cache(maxsize=16)
def _opened(name: str, config: str) -> OpenedTaskset | UsageError:
    """Load a taskset, or say why not, once: what fails may have waited for a network."""
    try:
        return _load(name, json.loads(config))
    except UsageError as error:
        return error


def _load(name: str, config: Mapping[str, Any]) -> OpenedTaskset:
    try:
        loaders = import_module("verifiers.v1.utils.loaders")
        envs = import_module("verifiers.v1.envs.single_agent")
    except ModuleNotFoundError as error:
        raise UsageError(f"verifiers:{name} needs {error.name}; install it with: pip install 'espl-bench[verifiers]'") from error
    try:
        made = loaders.taskset_class(name)
        taskset = made(_config_class(made).model_validate({"id": name, **config}))
        if loaders.environment_class(name) is not envs.SingleAgentEnv:
            raise _refusal(name, "its episodes are played by an environment of its own")
        for why in _obstacles(taskset):
            raise _refusal(name, why)
        tasks = list(islice(taskset, MOST_TASKS))
    except EsplError:
        raise
    except Exception as error:  # its package's code runs here, and may raise anything
        raise UsageError(f"verifiers:{name} cannot be loaded ({type(error).__name__}: {first_line(error)})") from error
    if not tasks:
        raise _refusal(name, "it has no tasks")
    for why in (why for task in tasks if (why := _unreadable(task.data)) is not None):
        raise _refusal(name, why)
    return OpenedTaskset(taskset, _ordered(tasks))


def _refusal(name: str, why: str) -> UsageError:
    return UsageError(f"verifiers:{name} cannot be used here: {why}")


def _config_class(made: Any) -> Any:
    generic, configs = (import_module(f"verifiers.v1.{module}") for module in ("utils.generic", "configs.taskset"))
    return generic.concrete_type(made, configs.TasksetConfig) or configs.TasksetConfig


def _obstacles(taskset: Any) -> Iterator[str]:
    """Yield why a taskset cannot be used here, as far as its classes tell: before its data is loaded."""
    kind, base = type(taskset).task_type(), import_module("verifiers.v1.task").Task
    task = kind.__new__(kind)  # without data
    task.config = taskset.config.task
    if task.NEEDS_CONTAINER:
        yield "its tasks need a container"
    for hook in ("reward", "metric"):
        for function in task.hooks(hook):
            if _needs_runtime(function):
                yield f"its {hook} '{function.__name__}' is computed in a runtime, and would be left out"
    for hook in ("setup", "finalize", "stage_verifier"):
        if getattr(kind, hook) is not getattr(base, hook):
            yield f"its tasks are prepared in a runtime ({hook})"
    if task.config.judges:
        yield "another model judges its answers"
    if not task.hooks("reward"):
        yield "it has no reward"
    for toolset in toolsets_of(taskset, kind):
        if getattr(toolset.config, "url", None):
            yield f"its tools are on a server elsewhere ({toolset.config.url})"


def _needs_runtime(function: Any) -> bool:
    parameter = inspect.signature(function).parameters.get("runtime")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def _unreadable(data: Any) -> str | None:
    """Say why a task is no question in words; None if it is one."""
    if data.image:
        return "its tasks need a container"
    if data.prompt is None:
        return "its tasks have no prompt: a user opens the conversation"
    if isinstance(data.prompt, str):
        return None
    if any(message.role not in ("system", "user") for message in data.prompt):
        return "its prompts hold earlier turns"
    if any(part.type != "text" for message in data.prompt if not isinstance(message.content, str) for part in message.content):
        return "its prompts hold images"
    return None


def toolsets_of(taskset: Any, kind: Any) -> list[Any]:
    """Make the tools of a kind of task, and those that the taskset shares among its tasks."""
    return [*type(taskset).toolsets(taskset.config), *kind.toolsets(taskset.config.task)]


def question_of(task: Any) -> str:
    """Return the user's part of a task's prompt."""
    prompt = task.data.prompt
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(text for message in prompt if message.role == "user" and (text := _text(message)))


def system_prompt_of(task: Any) -> str:
    """Return the system prompt of a task; empty if it has none."""
    prompt = task.data.prompt
    said = [] if isinstance(prompt, str) else [_text(message) for message in prompt if message.role == "system"]
    return "\n\n".join(text.strip() for text in (task.data.system_prompt or "", *said) if text.strip())


def _text(message: Any) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content)


def _ordered(tasks: Sequence[Any]) -> list[Any]:
    """Order tasks by a hash of what is asked, and keep one of those that ask the same."""
    asked = {f"{system_prompt_of(task)}\n{question_of(task)}": task for task in reversed(tasks)}
    return [asked[text] for text in sorted(asked, key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest())]
