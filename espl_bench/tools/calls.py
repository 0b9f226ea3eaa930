"""Read tool calls from a policy's text: our own form, and the forms that models bring with them.

Ours, and that of ChatML models: ``<tool_call>{"name": "search", "arguments": {…}}</tool_call>``, as often as wanted. A model
whose format marks calls by special tokens leaves, once these are decoded away, bare JSON (Llama: one object with ``parameters``;
Mistral: a list of objects) or a name before its JSON (newer Mistral: ``search{…}``). Such a text is a call only if it holds
nothing else and the name is that of a tool, so that an answer is never taken for one.

Reading is strict: a malformed call becomes a `problem` in words that the policy can act on. Nothing is evaluated. Time is linear.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from espl_bench.errors import first_line
from espl_bench.tools.tool_spec import BadArgumentsError, ToolSpec, named
from espl_bench.types import ToolCall
from espl_bench.utils.foreign_text import ForeignJsonError, parse_json

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"
MAX_CHARACTERS: Final = 20_000
"""Maximum length of a call; a longer one is refused unread."""
MAX_CALLS: Final = 64
"""Maximum attempts at a call in one turn that are read; what follows is part of the text outside the calls."""

_NAMED = re.compile(r"\s*(?P<name>[A-Za-z_][\w.-]{0,63})\s*(?P<json>\{.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt at a call, in the order written: a valid call, or the problem with it."""

    call: ToolCall | None
    arguments: Mapping[str, Any]
    """Arguments of a valid call, as its tool takes them."""
    problem: str | None = None
    """One line for the policy."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One turn of the policy, parsed."""

    requests: tuple[Request, ...]
    """Empty if the turn calls no tool."""
    said: str
    """The text outside the calls."""


class _UnreadableError(ValueError):
    """No call; the message says why, for the policy."""


def read_calls(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """Read the calls of a turn whose thinking was removed.

    Args:
        text: the policy's text.
        tools: the tools it may call.
    """
    if OPEN in text:
        return _tagged(text, tools)
    bare = _bare(text, {tool.name for tool in tools})[:MAX_CALLS]
    if bare:
        return Reading(tuple(_checked(fields, tools) for fields in bare), "")
    if CLOSE in text:
        return Reading((_problem(f"the closing tag of a call has no opening tag before it; {_advice(tools)}"),), text)
    return Reading((), text)


def _tagged(text: str, tools: Sequence[ToolSpec]) -> Reading:
    before, *rest = text.split(OPEN, MAX_CALLS)
    requests: list[Request] = []
    said = [before]
    for part in rest:
        body, closed, after = part.partition(CLOSE)
        said.append(after)
        if not closed:
            requests.append(_problem(f"the opening tag of a call has no closing tag behind it; {_advice(tools)}"))
            continue
        try:
            requests.append(_checked(_fields(body), tools))
        except _UnreadableError as fault:
            requests.append(_problem(f"{fault}; {_advice(tools)}"))
    return Reading(tuple(requests), "".join(said).strip())


def _fields(body: str) -> Mapping[str, Any]:
    """Parse one JSON object. Raises _UnreadableError."""
    if len(body) > MAX_CHARACTERS:
        raise _UnreadableError(f"a call of more than {MAX_CHARACTERS} characters")
    try:
        value = parse_json(body)
    except ForeignJsonError as error:
        raise _UnreadableError(f"the call is not JSON ({first_line(error)})") from error
    if not isinstance(value, dict):
        raise _UnreadableError("the call is not a JSON object")
    return cast(Mapping[str, Any], value)


def _bare(text: str, names: frozenset[str] | set[str]) -> list[Mapping[str, Any]]:
    """Return the calls of a text that is nothing but calls in a model's own format; none for any other text."""
    if len(text) > MAX_CHARACTERS:
        return []
    stripped = text.strip()
    if (match := _NAMED.fullmatch(stripped)) and match["name"] in names:
        stripped, name = match["json"], match["name"]
    else:
        name = None
    if stripped[:1] not in ("{", "["):
        return []
    try:
        value = parse_json(stripped)
    except ForeignJsonError:
        return []
    if name is not None:
        return [{"name": name, "arguments": value}]
    objects = cast(list[object], value) if isinstance(value, list) else [value]
    calls = [cast(Mapping[str, Any], call) for call in objects if isinstance(call, dict)]
    return calls if calls and len(calls) == len(objects) and all(call.get("name") in names for call in calls) else []


def _checked(fields: Mapping[str, Any], tools: Sequence[ToolSpec]) -> Request:
    """Check name and arguments of a call and return the request."""
    name, arguments = fields.get("name"), fields.get("arguments", fields.get("parameters", {}))
    tool = next((tool for tool in tools if tool.name == name), None)
    if tool is None:
        return _problem(f"there is no tool {str(name)[:80]!r}; the tools are: {named(tools)}")
    if isinstance(arguments, str):  # some models quote the object
        try:
            arguments = _fields(arguments)
        except _UnreadableError:
            return _problem(f"the arguments of {tool.name} are no JSON object; it takes {tool.signature}")
    if not isinstance(arguments, dict):
        return _problem(f"the arguments of {tool.name} are no JSON object; it takes {tool.signature}")
    checked = cast(Mapping[str, Any], arguments)
    try:
        tool.check(checked)
    except BadArgumentsError as fault:
        return _problem(str(fault))
    return Request(ToolCall(tool.name, json.dumps(checked, ensure_ascii=False)), checked)


def _problem(text: str) -> Request:
    return Request(None, {}, text)


def _advice(tools: Sequence[ToolSpec]) -> str:
    """Describe how to write a call, without the tags themselves, which a reply must not hold."""
    return f"between the two tags stands one JSON object, e.g. {tools[0].example() if tools else '{}'}"
