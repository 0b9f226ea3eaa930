"""Read tool calls from a policy's text: our own form, and the forms that models bring with them.

Ours, and that of ChatML models: ``<tool_call>{"name": "search", "arguments": {…}}</tool_call>``, as often as wanted. The other forms with
markers are the rows of `call_formats`. A form without any is bare JSON (Llama: one object with ``parameters``; Mistral, once its marker is
decoded away: a list of objects, or ``search{…}``), or calls in Python's words (``[search(query="…")]``). Such a text is a call only if it
holds nothing else, so that an answer is never taken for one; one that begins like a call and cannot be read is a call that failed.

Reading is strict: a malformed call becomes a `problem` in words that the policy can act on. Nothing is evaluated. Time is linear.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from espl_bench.tools.call_formats import (
    CLOSE,
    MAX_CHARACTERS,
    OPEN,
    UnreadableError,
    Untyped,
    attempts,
    json_value,
    read_json,
    read_python,
)
from espl_bench.tools.tool_spec import BadArgumentsError, ToolSpec, named
from espl_bench.types import ToolCall

__all__ = ["CLOSE", "MAX_CALLS", "MAX_CHARACTERS", "OPEN", "Reading", "Request", "read_calls"]
MAX_CALLS: Final = 64
"""Maximum attempts at a call in one turn that are read; what follows is part of the text outside the calls."""

_NAMED = re.compile(r"\s*(?P<name>[A-Za-z_][\w.-]{0,63})\s*(?P<json>\{.*)", re.DOTALL)
_BEGINS_JSON = re.compile(
    r"""\[?+\s*+\{\s*+ (?:"(?:type|id|tool_call_id)"\s*+:\s*+"[^"]{0,64}+"\s*+,\s*+){0,3}+ (?:"function"\s*+:\s*+\{\s*+)?+
    "(?:name|tool_name|function)"\s*+:\s*+"(?P<name>[^"]{1,64}+)\"""",
    re.VERBOSE,
)
_BEGINS_PYTHON = re.compile(r"\[?\s*+(?P<name>[A-Za-z_]\w{0,63})\(")


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt at a call, in the order written: a valid call, or the problem with it."""

    call: ToolCall | None
    arguments: Mapping[str, Any]
    """Arguments of a call of a known tool, as they were read."""
    problem: str | None = None
    """One line for the policy."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One turn of the policy, parsed."""

    requests: tuple[Request, ...]
    """Empty if the turn calls no tool."""
    said: str
    """The text outside the calls."""


def read_calls(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """Read the calls of a turn whose thinking was removed.

    Args:
        text: the policy's text.
        tools: the tools it may call.
    """
    found, said = attempts(text, MAX_CALLS)
    if found:
        requests: list[Request] = []
        for each in found:
            requests.extend(_checked(fields, tools) for fields in each.calls)
            if each.problem is not None:
                requests.append(_problem(f"{each.problem}; {_advice(tools)}"))
        return Reading(tuple(requests[:MAX_CALLS]), said)
    try:
        bare = _bare(text, {tool.name for tool in tools})[:MAX_CALLS]
    except UnreadableError as fault:
        return Reading((_problem(f"{fault}; {_advice(tools)}"),), text)
    if bare:
        return Reading(tuple(_checked(fields, tools) for fields in bare), "")
    if CLOSE in text:
        return Reading((_problem(f"the closing tag of a call has no opening tag before it; {_advice(tools)}"),), text)
    return Reading((), text)


def _bare(text: str, names: set[str]) -> Sequence[Mapping[str, Any]]:
    """Return the calls of a text that is nothing but calls without markers; none for any other text.

    Raises UnreadableError for a text that begins like such a call.
    """
    stripped = text.strip()
    if len(text) <= MAX_CHARACTERS and (match := _NAMED.fullmatch(stripped)) and match["name"] in names:
        return [{"name": match["name"], "arguments": json_value(match["json"])}]
    if (match := _BEGINS_PYTHON.match(stripped)) and match["name"] in names:
        return read_python(stripped)
    begun = _BEGINS_JSON.match(stripped)
    try:
        calls: Sequence[Mapping[str, Any]] = read_json(stripped) if stripped[:1] in ("{", "[") else ()
    except UnreadableError:
        if begun and begun["name"] in names:
            raise
        return []
    return calls if all(isinstance(call["name"], str) and call["name"] in names for call in calls) else []


def _checked(fields: Mapping[str, Any], tools: Sequence[ToolSpec]) -> Request:
    """Check name and arguments of a call and return the request."""
    name, arguments = fields.get("name"), fields.get("arguments", fields.get("parameters", {}))
    tool = next((tool for tool in tools if tool.name == name), None)
    if tool is None:
        return _problem(f"there is no tool {str(name)[:80]!r}; the tools are: {named(tools)}")
    if isinstance(arguments, str):  # some models quote the object
        try:
            arguments = json_value(arguments)
        except UnreadableError:
            return _problem(f"the arguments of {tool.name} are no JSON object; it takes {tool.signature}")
    if not isinstance(arguments, dict):
        return _problem(f"the arguments of {tool.name} are no JSON object; it takes {tool.signature}")
    checked = {key: _typed(key, value, tool) for key, value in cast(Mapping[str, Any], arguments).items()}
    try:
        tool.check(checked)
    except BadArgumentsError as fault:
        return Request(None, checked, str(fault))
    return Request(ToolCall(tool.name, json.dumps(checked, ensure_ascii=False)), checked)


_WORDS: Final[Mapping[str, Any]] = {"True": True, "False": False, "None": None}
"""Values that a template may write in Python's words."""


def _typed(name: str, value: Any, tool: ToolSpec) -> Any:
    """Return an argument; one that was written without its kind is a text if the tool takes a text there, else JSON."""
    if not isinstance(value, Untyped):
        return value
    text, parameter = str(value), tool.parameter(name)
    if parameter is None:
        return text
    read = _as_json(text)
    if parameter.fits(text) and not (read is None and parameter.fits(None)):
        return text
    return read


def _as_json(text: str) -> Any:
    """Read a value that may be JSON, or a word of Python; a text that is neither is itself."""
    bare = text.strip()
    if bare in _WORDS:
        return _WORDS[bare]
    try:
        return json_value(bare)
    except UnreadableError:
        return text


def _problem(text: str) -> Request:
    return Request(None, {}, text)


def _advice(tools: Sequence[ToolSpec]) -> str:
    """Describe how to write a call, without the tags themselves, which a reply must not hold."""
    return f"between the two tags stands one JSON object, e.g. {tools[0].example() if tools else '{}'}"
