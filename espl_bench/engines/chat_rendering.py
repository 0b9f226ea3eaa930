"""Render a model's chat template as transformers does, within the bounds of `utils/bounded_templates.py`.

A chat template is code that comes with a model, from whoever made it. transformers keeps it in a sandbox, which does not end its loops.
So its compiled template is taken from there, with all that transformers gives templates, and compiled again with bounds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, cast

from jinja2 import Template
from transformers.utils.chat_template_utils import _compile_jinja_template  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]

from espl_bench.errors import ModelError
from espl_bench.types import Message, ToolCall
from espl_bench.utils import reasoning
from espl_bench.utils.bounded_templates import bounded, compiled, render

DEFAULT: Final = "default"
WITH_TOOLS: Final = "tool_use"
"""Names of a tokenizer's templates: the one to use, and the one to use instead when there are tools."""
_SAID: Final = "a"
_CALL_ID: Final = "call{:05d}"
"""Ids of calls in a model's own format; nine characters, as Mistral's templates demand."""
NONE: Final[Mapping[str, bool]] = {}


@lru_cache(maxsize=32)
def _template(source: str) -> Template:
    """Compile a template in a bounded copy of the environment that transformers makes for it. Raises jinja2's errors."""
    theirs: Any = _compile_jinja_template("")
    return compiled(bounded(theirs.environment), source)


def render_chat(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Any] | None,
    tokens: Mapping[str, Any],
    *,
    assistant_speaks: bool,
    switches: Mapping[str, bool] = NONE,
) -> str:
    """Return a conversation as the template words it.

    Args:
        template: the template's text.
        messages: the conversation, as transformers takes it.
        tools: schemas of the tools; None: no tools.
        tokens: names of special tokens and their texts, which templates use.
        assistant_speaks: whether to end with what opens the assistant's turn.
        switches: further variables of the template.

    Raises:
        jinja2.TemplateError: the template refuses the conversation; a `TemplateLimitError` if it does not end.
        TypeError, ValueError, ArithmeticError, LookupError: an expression in it fails.
    """
    given = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": assistant_speaks}
    return render(_template(template), {**given, **tokens, **switches})


def named_templates(given: Any, model: str) -> Mapping[str, str]:
    """Return a tokenizer's chat templates by name; a single one is the default.

    Raises ModelError where there are several and none is the default, or one is no text.
    """
    match given:
        case str():
            named: dict[str, Any] = {DEFAULT: given}
        case Mapping():
            named = dict(cast(Mapping[str, Any], given))
        case _:
            entries = [cast(dict[str, Any], each) for each in cast(Sequence[Any], given) if isinstance(each, dict)]
            named = {str(each.get("name")): each.get("template") for each in entries}
    if not isinstance(named.get(DEFAULT), str) or not all(isinstance(each, str) for each in named.values()):
        names = ", ".join(sorted(named)) or "none"
        raise ModelError(
            f"model '{model}' has several chat templates ({names}), and none is the default; "
            "keep the one to use as its chat_template.jinja, and remove the others"
        )
    return named


def as_records(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Convert messages to the form chat templates take. Calls are numbered throughout, and replies name the call they answer."""
    rendered: list[dict[str, Any]] = []
    made = answered = 0
    for message in messages:
        record: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.calls:
            record["tool_calls"] = [_call(call, made + index) for index, call in enumerate(message.calls)]
            made += len(message.calls)
        if message.tool is not None:
            record |= {"name": message.tool, "tool_call_id": _CALL_ID.format(answered)}
            answered += 1
        rendered.append(record)
    return rendered


def _call(call: ToolCall, number: int) -> dict[str, Any]:
    function = {"name": call.tool, "arguments": json.loads(call.arguments)}
    return {"type": "function", "id": _CALL_ID.format(number), "function": function}


def stand_in(message: Message) -> Message:
    """Replace what an assistant said by one letter, and its thinking, if any, by another; return other messages unchanged."""
    if message.role != "assistant":
        return message
    said = "" if message.calls else _SAID
    if reasoning.CLOSE in message.content:
        opened = f"{reasoning.OPEN}\n" if reasoning.OPEN in message.content else ""
        said = f"{opened}{_SAID}\n{reasoning.CLOSE}\n\n{said}".rstrip()
    return replace(message, content=said, calls=tuple(ToolCall(call.tool, "{}") for call in message.calls))
