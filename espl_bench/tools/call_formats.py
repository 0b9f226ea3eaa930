"""The forms in which models write tool calls: one table, a row per form, each with its markers and a reader of what stands between them.

A marker in a turn is an attempt at a call: what stands behind it is read, or is a call that failed, and never an answer. Readers return
name and arguments as written; arguments that a form writes without their kind are `Untyped`. Nothing is evaluated.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from espl_bench.errors import first_line
from espl_bench.utils.foreign_text import ForeignJsonError, parse_json

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"
MAX_CHARACTERS: Final = 20_000
"""Maximum length of a call; a longer one is refused unread."""

Fields = Mapping[str, Any]
"""A call as JSON has it: ``name`` and ``arguments``."""


class UnreadableError(ValueError):
    """No call; the message says why, for the policy."""


class Untyped(str):
    """An argument whose form does not tell a text from a number: the tool's own parameters decide."""


@dataclass(frozen=True, slots=True)
class CallFormat:
    """One form."""

    opening: str
    """Begins a call, or several."""
    closing: str
    """Ends it; a call that the end of its turn ends needs none if `may_end`."""
    read: Callable[[str], Sequence[Fields]]
    """Returns the calls of what stands between. Raises UnreadableError."""
    may_end: bool = False
    inner: tuple[str, ...] = ()
    """Further markers that the reader needs to see."""


def read_json(body: str) -> Sequence[Fields]:
    """Read one JSON object, or a list of them. Raises UnreadableError."""
    value = json_value(body)
    items = cast(list[object], value) if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, dict) for item in items):
        raise UnreadableError("the call is not a JSON object")
    return [_as_fields(cast(Fields, item)) for item in items]


def json_value(body: str) -> Any:
    """Parse JSON. Raises UnreadableError."""
    if len(body) > MAX_CHARACTERS:
        raise UnreadableError(f"a call of more than {MAX_CHARACTERS} characters")
    try:
        return parse_json(body)
    except ForeignJsonError as error:
        raise UnreadableError(f"the call is not JSON ({first_line(error)})") from error


def _as_fields(call: Fields) -> Fields:
    """Bring other names of the two fields to the common ones."""
    inner = call.get("function")
    if isinstance(inner, dict):
        call = cast(Fields, inner)
    name = call.get("name", call.get("tool_name", inner if isinstance(inner, str) else None))
    return {"name": name, "arguments": call.get("arguments", call.get("parameters", {}))}


def _read_common(body: str) -> Sequence[Fields]:
    """Read what stands between the common tags: JSON, or the elements of Qwen 3.5 or of GLM."""
    if _FUNCTION in body:
        return list(_functions(body))
    if _KEY in body or _NAME.fullmatch(body):
        return [_keys_and_values(body)]
    return read_json(body)


_FUNCTION: Final = "<function="
_PARAMETER: Final = "<parameter="
_KEY: Final = "<arg_key>"
_NAME = re.compile(r"\s*[A-Za-z_][\w.-]{0,63}\s*")


def _functions(body: str) -> Iterator[Fields]:
    """Read ``<function=name><parameter=key>value</parameter></function>``."""
    for part in body.split(_FUNCTION)[1:]:
        inside, closed, _ = part.partition("</function>")
        name, named, rest = inside.partition(">")
        if not closed or not named:
            raise UnreadableError("a function is not closed")
        yield _function(name.strip(), rest)


def _function(name: str, body: str) -> Fields:
    if body.strip().startswith("{"):  # Llama's own functions
        return {"name": name, "arguments": json_value(body)}
    arguments: dict[str, Any] = {}
    for part in body.split(_PARAMETER)[1:]:
        key, named, rest = part.partition(">")
        value, closed, _ = rest.partition("</parameter>")
        if not closed or not named:
            raise UnreadableError("a parameter is not closed")
        arguments[key.strip()] = Untyped(value.removeprefix("\n").removesuffix("\n"))
    return {"name": name, "arguments": arguments}


def _read_function(body: str) -> Sequence[Fields]:
    name, named, rest = body.partition(">")
    if not named:
        raise UnreadableError("a function has no name")
    return [_function(name.strip(), rest)]


def _keys_and_values(body: str) -> Fields:
    """Read ``name<arg_key>key</arg_key><arg_value>value</arg_value>``."""
    name, *parts = body.split(_KEY)
    arguments: dict[str, Any] = {}
    for part in parts:
        key, closed_key, rest = part.partition("</arg_key>")
        value, closed, _ = rest.partition("<arg_value>")[2].partition("</arg_value>")
        if not closed or not closed_key:
            raise UnreadableError("an argument is not closed")
        arguments[key.strip()] = Untyped(value)
    return {"name": name.strip(), "arguments": arguments}


_QUOTE: Final = '<|"|>'
_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_][\w.-]*)(\s*:)")


def _read_braces(body: str) -> Sequence[Fields]:
    """Read Gemma's ``call:name{key:<|"|>text<|"|>,other:3}``."""
    match = re.fullmatch(r"\s*call:([\w.-]{1,64})(\{.*\})\s*", body, re.DOTALL)
    if match is None:
        raise UnreadableError("the call has not the form call:name{...}")
    parts = enumerate(match[2].split(_QUOTE))
    written = "".join(json.dumps(part) if number % 2 else _BARE_KEY.sub(r'\1"\2"\3', part) for number, part in parts)
    return [{"name": match[1], "arguments": json_value(written)}]


def read_python(body: str) -> Sequence[Fields]:
    """Read ``[name(key="text", other=3)]``: calls in Python's words with literal arguments. Raises UnreadableError."""
    if len(body) > MAX_CHARACTERS:
        raise UnreadableError(f"a call of more than {MAX_CHARACTERS} characters")
    try:
        tree = _python(body.strip())
    except UnreadableError:
        tree = _python(body.strip().replace("\n", "\\n"))  # some templates leave line ends in a text as they are
    calls = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    return [_python_call(call) for call in calls]


_NO_ESCAPE = re.compile(r"(?<!\\)\\(?![\\'\"abfnrtvxuUN0-7\n])")
"""A backslash that Python would warn of, and take as it is."""


def _python(text: str) -> ast.expr:
    try:
        return ast.parse(_NO_ESCAPE.sub(r"\\\\", text), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadableError("the call is not of the form [name(argument=value)]") from error


def _python_call(call: ast.expr) -> Fields:
    if not isinstance(call, ast.Call) or call.args or not isinstance(call.func, ast.Name | ast.Attribute):
        raise UnreadableError("the call is not of the form [name(argument=value)]")
    return {"name": ast.unparse(call.func), "arguments": {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}}


_WORDS: Final[Mapping[str, Any]] = {"true": True, "false": False, "null": None}


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.Name(id=name) if name in _WORDS:
            return _WORDS[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_literal(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {str(_literal(key)): _literal(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case _:
            raise UnreadableError("an argument is not a plain value")


_NAMED = re.compile(r"\s*(?:functions\.)?(?P<name>[A-Za-z_][\w.-]{0,63})(?P<between>[^{]{0,120})(?P<json>\{.*\})[^}]*", re.DOTALL)


def _read_named(body: str) -> Sequence[Fields]:
    """Read a name, whatever stands behind it in a form (an id, a channel, a fence), and a JSON object."""
    if body.strip().startswith(("[", "{")):
        return read_json(body)
    match = _NAMED.fullmatch(body)
    if match is None:
        raise UnreadableError("the call is not a tool's name with a JSON object")
    return [{"name": match["name"], "arguments": json_value(match["json"])}]


def _read_deepseek(body: str) -> Sequence[Fields]:
    """Read ``function<｜tool▁sep｜>name`` and a fenced object, or ``name<｜tool▁sep｜>{...}``."""
    return _read_named(body.removeprefix("function<｜tool▁sep｜>"))


_INVOKED_PARAMETER = re.compile(r'<(?:\w+:|｜\w+｜)?parameter name="')


def _read_invoked(body: str) -> Sequence[Fields]:
    """Read ``"name"><parameter name="key">value</parameter>``, what stands in an element that invokes a tool."""
    name, named, rest = body.partition('">')
    if not named:
        raise UnreadableError("a call has no name")
    arguments: dict[str, Any] = {}
    for part in _INVOKED_PARAMETER.split(rest)[1:]:
        key, _, behind = part.partition('"')
        _, keyed, inside = behind.partition(">")  # behind other attributes, which tell what the tool's parameters tell
        value, closed, _ = inside.partition("</")
        if not closed or not keyed:
            raise UnreadableError("a parameter is not closed")
        arguments[key] = Untyped(value)
    return [{"name": name, "arguments": arguments}]


_ELEMENTS: Final = ("<function=", "</function>", "<parameter=", "</parameter>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>")
FORMATS: Final = (
    CallFormat(OPEN, CLOSE, _read_common, inner=_ELEMENTS),  # ours, ChatML, Qwen, GLM, Nemotron
    CallFormat("<|tool_call>", "<tool_call|>", _read_braces, inner=(_QUOTE,)),  # Gemma 4
    CallFormat("<|tool_call_start|>", "<|tool_call_end|>", read_python),  # LFM2
    CallFormat("<|tool_call_begin|>", "<|tool_call_end|>", _read_named, inner=("<|tool_call_argument_begin|>",)),  # Kimi
    CallFormat("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", _read_deepseek, inner=("<｜tool▁sep｜>",)),
    CallFormat("[TOOL_CALLS]", "[/TOOL_CALLS]", _read_named, may_end=True, inner=("[ARGS]", "[CALL_ID]")),  # Mistral
    CallFormat("<|START_ACTION|>", "<|END_ACTION|>", read_json),  # Command-R
    CallFormat("<|tool_call|>", "<|/tool_call|>", read_json, may_end=True),  # Phi-4, Granite
    CallFormat("<|python_tag|>", "<|eom_id|>", _read_named, may_end=True),  # Llama 3
    CallFormat("to=functions.", "<|call|>", _read_named, may_end=True),  # gpt-oss
    CallFormat('invoke name="', "invoke>", _read_invoked),  # MiniMax, DeepSeek 3.2
    CallFormat(_FUNCTION, "</function>", _read_function),  # Qwen coder, Llama 3.1
)
"""Every form that has markers. Where two begin at the same place in a text, the first row counts."""
MARKERS: Final = frozenset(
    marker for each in FORMATS for marker in (each.opening, each.closing, *each.inner) if marker.strip()[:1] in "<[" and len(marker) > 4
)
"""Markers that must survive decoding, even if they are special tokens."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What stands behind a marker: calls, or why they cannot be read."""

    calls: Sequence[Fields]
    problem: str | None = None


def attempts(text: str, most: int) -> tuple[list[Attempt], str]:
    """Return the first `most` attempts at calls by marker, and the text outside them. Time is linear in text times forms."""
    found: list[Attempt] = []
    said: list[str] = []
    rest = text
    while len(found) < most and (form := _first(rest)) is not None:
        before, _, behind = rest.partition(form.opening)
        said.append(before)
        body, closed, rest = behind.partition(form.closing)
        if not closed and form.may_end:  # several may follow each other
            body, again, rest = behind.partition(form.opening)
            rest = again + rest
        found.append(_attempt(form, body, closed=bool(closed) or form.may_end))
        if not closed and not form.may_end:
            body, again, rest = behind.partition(form.opening)
            rest = again + rest
    return found, "".join((*said, rest)).strip()


def _attempt(form: CallFormat, body: str, *, closed: bool) -> Attempt:
    if not closed:
        return Attempt((), "the opening tag of a call has no closing tag behind it")
    try:
        return Attempt(form.read(body))
    except UnreadableError as fault:
        return Attempt((), str(fault))


def _first(text: str) -> CallFormat | None:
    places = [(at, number) for number, form in enumerate(FORMATS) if (at := text.find(form.opening)) >= 0]
    return FORMATS[min(places)[1]] if places else None
