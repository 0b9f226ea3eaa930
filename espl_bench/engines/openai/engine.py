"""Engine `openai`: a model behind an OpenAI-compatible chat endpoint (vLLM, SGLang, hosted). It samples, and never trains.

It speaks text: messages go out, a text and the endpoint's own token counts come back. There are no ids and no
log-probabilities, and *current* and *reference* are one thing: the model as it is served.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from espl_bench.engines.openai.endpoint import KEY_ENV, Endpoint, EndpointAccess, RefusedError, TransientError, read_key
from espl_bench.engines.protocol import AdamParams, Chat
from espl_bench.errors import EndpointError, UsageError, unknown
from espl_bench.learning.spec import LossSpec
from espl_bench.tools.tool_spec import ToolSpec
from espl_bench.types import Completion, Datum, Message, SampleRequest, StopReason, Usage

STOP_REASONS = {"stop": StopReason.STOP, "length": StopReason.LENGTH, "content_filter": StopReason.FILTERED}
"""By the wire's ``finish_reason``."""

Count = Annotated[int, Field(ge=0)]


class _Said(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Said
    finish_reason: Literal["stop", "length", "content_filter"]


class _Usage(BaseModel):
    prompt_tokens: Count
    completion_tokens: Count


class _Answer(BaseModel):
    """The parts of a chat completion that are read."""

    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Usage | None = None


class _Served(BaseModel):
    id: str


class _Listing(BaseModel):
    data: list[_Served]


@dataclass(frozen=True, slots=True)
class ResponseForm:
    """Which optional words of the wire an endpoint understands. Starts with all, and learns from refusals."""

    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The first is what most endpoints know; OpenAI's reasoning models take the second only."""
    seed: bool = True
    top_p: bool = True

    def body(self, model: str, request: SampleRequest) -> dict[str, Any]:
        """One request. Temperature and top-p are always said where they are understood, or a server's own would apply."""
        return {
            "model": model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            self.limit: request.max_tokens,
            "temperature": request.temperature,
            **({"top_p": request.top_p} if self.top_p else {}),
            **({"seed": request.seed} if self.seed else {}),
        }

    def after(self, refusal: RefusedError, request: SampleRequest) -> "ResponseForm | None":
        """The form to go on with; None if what is refused cannot be left out without changing what is asked for."""
        if refusal.code not in ("unsupported_parameter", "unsupported_value", "unknown_parameter"):
            return None
        match refusal.param:
            case "max_tokens" if self.limit == "max_tokens":
                return replace(self, limit="max_completion_tokens")
            case "seed" if self.seed:
                return replace(self, seed=False)
            case "top_p" if self.top_p and request.top_p == 1:
                return replace(self, top_p=False)
            case _:
                return None


class TextChat:
    """The chat of an engine that speaks text: no ids at all. The conversation is in a request's messages."""

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """No ids."""
        return ()

    def continuation(self, conversation: Sequence[Message], replies: Sequence[Message]) -> tuple[int, ...]:
        """No ids."""
        return ()

    def with_tools(self, tools: Sequence[ToolSpec]) -> "TextChat":
        """Refuse: what an endpoint makes of a model's own tool format is the endpoint's affair, and is not seen here."""
        raise UsageError("engine openai words tools as text; use --tool-format text")

    def harmless(self, text: str) -> str:
        """The text: which markers the endpoint's model has is not known here, and those in general use are gone already."""
        return text

    def decode(self, tokens_T: Sequence[int]) -> str:
        """The text of no ids."""
        return ""


class OpenAIEngine:
    """One model at one endpoint. Made by `at`; current and reference client are the engine itself."""

    isolates_snapshots = True
    batches_continuously = False  # a request that fails for good must keep the others of its call from being begun

    def __init__(self, model: str, access: EndpointAccess) -> None:
        """Nothing is asked yet."""
        self.chat: Chat = TextChat()
        self.model = model
        self.access = access
        self._endpoint: Endpoint | None = None
        self._form = ResponseForm()

    @classmethod
    def at(cls, base_url: str, model: str, key_env: str | None, timeout_s: float, tries: int) -> "OpenAIEngine":
        """The engine, once the endpoint has said that it serves the model.

        Raises:
            UsageError: the key's variable is not set, or the endpoint lists models and this is none of them.
            EndpointError: it does not answer, or refuses the key.
        """
        access = EndpointAccess(base_url, read_key(key_env), key_env or KEY_ENV, timeout_s, tries)
        asyncio.run(_require_model(access, model))
        return cls(model, access)

    async def current(self) -> "OpenAIEngine":
        """The model as it is served."""
        return self

    async def reference(self) -> "OpenAIEngine":
        """The model as it is served."""
        return self

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """One completion per request, in order, all asked at once. Seeds are sent; whether they bind is the endpoint's affair.

        Raises:
            EndpointError: a request failed for good.
        """
        return list(await asyncio.gather(*(self._ask(request) for request in requests)))

    async def _ask(self, request: SampleRequest) -> Completion:
        if not request.messages:
            raise ValueError("a request to an endpoint needs its messages")
        answer = await self._post(request)
        if answer is None:  # as an engine that takes ids answers a prompt that fills the context
            return Completion((), (), "", StopReason.LENGTH, Usage(0, 0))
        if answer.usage is None:
            raise EndpointError(f"{self.access.base_url} does not say what an answer used, and tokens cannot be counted; use one that does")
        choice, usage = answer.choices[0], Usage(answer.usage.prompt_tokens, answer.usage.completion_tokens)
        text = self._open().clean(choice.message.content or "")
        return Completion((), (), text, STOP_REASONS[choice.finish_reason], usage)

    async def _post(self, request: SampleRequest) -> _Answer | None:
        """The answer, in whatever form the endpoint takes the request; None if the prompt fills the model's context."""
        while True:
            form = self._form
            try:
                return await self._open().post("chat/completions", form.body(self.model, request), _completion)
            except RefusedError as refusal:
                if refusal.code == "context_length_exceeded":
                    return None
                adapted = form.after(refusal, request)
                if adapted is None:
                    raise
                if self._form is form:  # another request may have learned it meanwhile
                    self._form = adapted

    async def train_step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> Mapping[str, float]:
        """Refuse: the weights are the endpoint's. config.py refuses a method that trains before it starts."""
        raise UsageError("engine openai cannot train: the weights are the endpoint's; use --engine hf")

    async def save(self, folder: Path) -> None:
        """There is nothing to save: no weights, no optimiser. What was answered is kept by answers.py."""

    async def load(self, folder: Path) -> None:
        """There is nothing to load."""

    async def close(self) -> None:
        """Close the connections; asking again opens new ones."""
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None

    def _open(self) -> Endpoint:
        if self._endpoint is None:
            self._endpoint = Endpoint(self.access)
        return self._endpoint


def _completion(body: dict[str, Any]) -> _Answer:
    """A chat completion; anything else may be one at the next try."""
    try:
        return _Answer.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TransientError(f"no chat completion ({where}: {first['msg']})") from error


async def _require_model(access: EndpointAccess, model: str) -> None:
    """Ask the endpoint what it serves, if it tells. Raises UsageError if the model is not among it."""
    endpoint = Endpoint(access)
    try:
        listed = await endpoint.get("models", dict)
    except RefusedError as refusal:
        if refusal.status in (404, 405, 501):  # an endpoint need not list
            return
        raise
    finally:
        await endpoint.close()
    try:
        served = [row.id for row in _Listing.model_validate(listed).data]
    except ValidationError:  # not in this form: the first request will tell
        return
    if served and model not in served:
        raise unknown(f"model at {access.base_url}", model, served[:20] if model not in served[20:] else served)
