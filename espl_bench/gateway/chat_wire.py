"""The chat completions API on the wire: what a request may ask for, and the body of an answer.

A field that would change what is sampled, and that is not supported, is refused by name. An agent that is silently given something else
than it asked for is trained on something else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from espl_bench.errors import EnvError
from espl_bench.tools.tool_spec import ToolSpec
from espl_bench.types import Completion, Message, StopReason, ToolCall
from espl_bench.utils.foreign_text import ForeignJsonError, parse_json
from espl_bench.utils.validation import first_fault

MODEL: Final = "policy"
"""Name of the one model that a gateway serves."""
MAX_MESSAGES: Final = 2_000
MAX_TOOLS: Final = 128
MAX_STOPS: Final = 16
_FINISHED: Final = {StopReason.STOP: "stop", StopReason.LENGTH: "length", StopReason.FILTERED: "content_filter"}


class RefusedRequestError(Exception):
    """A request is not answered; the message says why, and the agent reads it."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST, code: str = "invalid_request_error") -> None:
        """Take the message, the status of the answer, and a word that a program can compare."""
        super().__init__(message)
        self.status = status
        self.code = code


class _Part(BaseModel):
    type: Literal["text"]
    text: str


class _Function(BaseModel):
    name: str
    arguments: str = "{}"


class _Call(BaseModel):
    id: str
    type: Literal["function"] = "function"
    function: _Function


class _Said(BaseModel):
    """One message. Fields that clients add to what they were sent, such as ``refusal``, are left out."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    function_call: None = None


class _Described(BaseModel):
    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])


class _Tool(BaseModel):
    type: Literal["function"]
    function: _Described


class _Format(BaseModel):
    type: Literal["text"]


Zero = Literal[0] | None
Positive = Annotated[int, Field(ge=1)]


class _Body(BaseModel):
    """A request. Fields of which only the default is possible name what is not supported."""

    model_config = ConfigDict(extra="forbid")

    model: str
    messages: Annotated[list[_Said], Field(min_length=1, max_length=MAX_MESSAGES)]
    tools: Annotated[list[_Tool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: Literal[True] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    stop: str | Annotated[list[str], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Zero = None
    n: Literal[1] | None = None
    presence_penalty: Zero = None
    frequency_penalty: Zero = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    response_format: _Format | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a completion, in our types."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tools_key: str = ""
    """The tools as JSON: conversations with other tools are others."""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    stream: bool = False
    logprobs: bool = False
    include_usage: bool = False
    """Whether a stream ends with its usage."""


def read_request(content: bytes) -> Asked:
    """Read the body of a request. Raises RefusedRequestError."""
    try:
        body = _Body.model_validate(parse_json(content))
    except ForeignJsonError as error:
        raise RefusedRequestError(f"the body is not JSON that is read here: {error}") from error
    except ValidationError as error:
        raise RefusedRequestError(f"{first_fault(error)}; leave it out, or change it") from error
    if body.model != MODEL:
        raise RefusedRequestError(f"there is no model {body.model[:80]!r} here; name '{MODEL}'", HTTPStatus.NOT_FOUND, "model_not_found")
    tools = [] if body.tool_choice == "none" else body.tools or []
    return Asked(
        messages=_messages(body.messages),
        tools=_tools(tools),
        tools_key=json.dumps([tool.model_dump() for tool in tools]) if tools else "",
        temperature=body.temperature,
        top_p=body.top_p,
        max_tokens=min((limit for limit in (body.max_tokens, body.max_completion_tokens) if limit is not None), default=None),
        stops=tuple(text for text in ([body.stop] if isinstance(body.stop, str) else body.stop or []) if text),
        stream=bool(body.stream),
        logprobs=bool(body.logprobs),
        include_usage=bool((body.stream_options or {}).get("include_usage")),
    )


def _tools(described: Sequence[_Tool]) -> tuple[ToolSpec, ...]:
    try:
        return tuple(ToolSpec.of_schema(each.function.name, each.function.description, each.function.parameters) for each in described)
    except EnvError as error:
        raise RefusedRequestError(f"tools: {error}") from error


def _messages(said: Sequence[_Said]) -> tuple[Message, ...]:
    """Convert messages; replies of tools name the tool instead of the call. Raises RefusedRequestError."""
    converted: list[Message] = []
    waiting: dict[str, str] = {}
    """Tools by the id of a call that has no reply yet."""
    for number, each in enumerate(said):
        if waiting and each.role != "tool":
            raise RefusedRequestError(f"messages.{number}: the call {next(iter(waiting))!r} has no reply; a tool's message must come first")
        content = each.content if isinstance(each.content, str) else "\n".join(part.text for part in each.content or ())
        match each.role:
            case "tool":
                tool = waiting.pop(each.tool_call_id or "", None)
                if tool is None:
                    raise RefusedRequestError(f"messages.{number}: tool_call_id {each.tool_call_id!r} is of no call before it")
                converted.append(Message("tool", content, tool=tool))
            case "assistant":
                calls = tuple(ToolCall(call.function.name, _arguments(call, number)) for call in each.tool_calls or ())
                waiting = {call.id: call.function.name for call in each.tool_calls or ()}
                converted.append(Message("assistant", content, calls))
            case "developer" | "system":
                converted.append(Message("system", content))
            case "user":
                converted.append(Message("user", content))
    if converted[-1].role in ("assistant", "system"):
        raise RefusedRequestError("messages: the last one must be the user's or a tool's")
    return tuple(converted)


def _arguments(call: _Call, number: int) -> str:
    """Return a call's arguments as JSON, written as we write it, so that a call that comes back equals the one that was sent."""
    try:
        arguments = parse_json(call.function.arguments or "{}")
    except ForeignJsonError as error:
        raise RefusedRequestError(f"messages.{number}: the arguments of {call.function.name} are not JSON") from error
    if not isinstance(arguments, dict):
        raise RefusedRequestError(f"messages.{number}: the arguments of {call.function.name} are no JSON object")
    return json.dumps(cast(dict[str, Any], arguments), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a session answers."""

    completion: Completion
    """As it was sampled."""
    content: str
    """The text without thoughts and calls."""
    reasoning: str
    calls: tuple[ToolCall, ...]
    prompt_tokens: int
    number: int
    """Place among the session's completions."""


def completion_body(reply: Reply, session: str, created: int, logprobs: bool) -> dict[str, Any]:
    """Return the body of an answer."""
    choice: dict[str, Any] = {"index": 0, "message": _message(reply), "finish_reason": _finish_reason(reply), "logprobs": None}
    if logprobs:
        choice["logprobs"] = {"content": _logprobs(reply.completion), "refusal": None}
    return {**_head(reply, session, created, "chat.completion"), "choices": [choice], "usage": _usage(reply)}


def stream_bodies(reply: Reply, session: str, created: int, asked: Asked) -> list[dict[str, Any]]:
    """Return the pieces of an answer that is asked for as a stream: the whole message in one, then how it ended."""
    head = _head(reply, session, created, "chat.completion.chunk")
    message = _message(reply)
    for index, call in enumerate(message.get("tool_calls", ())):
        call["index"] = index
    said: dict[str, Any] = {"index": 0, "delta": message, "finish_reason": None, "logprobs": None}
    if asked.logprobs:
        said["logprobs"] = {"content": _logprobs(reply.completion), "refusal": None}
    ended: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": _finish_reason(reply), "logprobs": None}
    usage: list[dict[str, Any]] = [{**head, "choices": [], "usage": _usage(reply)}] if asked.include_usage else []
    return [{**head, "choices": [said]}, {**head, "choices": [ended]}, *usage]


def error_body(refusal: RefusedRequestError) -> dict[str, Any]:
    """Return the body that says why there is no answer."""
    return {"error": {"message": str(refusal), "type": "invalid_request_error", "param": None, "code": refusal.code}}


def _head(reply: Reply, session: str, created: int, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{session}-{reply.number}", "object": kind, "created": created, "model": MODEL}


def _message(reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.content or (None if reply.calls else "")}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{reply.number}_{index}",
                "type": "function",
                "function": {"name": call.tool, "arguments": call.arguments},
            }
            for index, call in enumerate(reply.calls)
        ]
    return message


def _finish_reason(reply: Reply) -> str:
    return "tool_calls" if reply.calls else _FINISHED[reply.completion.stop_reason]


def _usage(reply: Reply) -> Mapping[str, int]:
    sampled = reply.completion.sampled_tokens
    return {"prompt_tokens": reply.prompt_tokens, "completion_tokens": sampled, "total_tokens": reply.prompt_tokens + sampled}


def _logprobs(completion: Completion) -> list[dict[str, Any]]:
    """Return each sampled token's text and log-probability; the texts are empty if the engine does not know them."""
    lengths_T = completion.lengths_T or (0,) * len(completion.tokens_T)
    found: list[dict[str, Any]] = []
    at = 0
    for length, logprob in zip(lengths_T, completion.logprobs_T, strict=True):
        found.append({"token": completion.text[at : at + length], "logprob": logprob, "bytes": None, "top_logprobs": []})
        at += length
    return found
