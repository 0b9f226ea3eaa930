"""Engine `openai`: a model behind an OpenAI-compatible chat endpoint (vLLM, SGLang, hosted). It samples and cannot train.

It works on text: messages go out, a text and the endpoint's own token counts come back. There are no ids and no
log-probabilities, and *current* and *reference* are the same: the model as served.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from espl_bench.engines.engine import AdamParams, Chat
from espl_bench.engines.openai.endpoint import (
    KEY_ENV,
    MAX_DETAIL,
    Endpoint,
    EndpointAccess,
    EndpointRefusedError,
    TransientError,
    read_key,
)
from espl_bench.errors import EndpointError, UsageError, unknown
from espl_bench.learning.loss_spec import LossSpec
from espl_bench.tools.markers import neutralise_common
from espl_bench.tools.tool_spec import ToolSpec
from espl_bench.types import Completion, Datum, Message, SampleRequest, StopReason, Usage
from espl_bench.utils.foreign_text import readable

STOP_REASONS = {"stop": StopReason.STOP, "length": StopReason.LENGTH, "content_filter": StopReason.FILTERED}
"""Stop reason by the wire's ``finish_reason``."""

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
    """The fields of a chat completion that are read."""

    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Usage | None = None


class _Served(BaseModel):
    id: str


class _Listing(BaseModel):
    data: list[_Served]


@dataclass(frozen=True, slots=True)
class ResponseForm:
    """The optional fields that an endpoint understands. Starts with all, and drops those it refuses."""

    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Most endpoints accept the first; OpenAI's reasoning models accept only the second."""
    seed: bool = True
    top_p: bool = True

    def body(self, model: str, request: SampleRequest) -> dict[str, Any]:
        """Build the body of one request. Temperature and top-p are always sent where accepted, or a server's defaults would apply."""
        return {
            "model": model,
            "messages": [{"role": message.role, "content": _sent(message)} for message in request.messages],
            self.limit: request.max_tokens,
            "temperature": request.temperature,
            **({"top_p": request.top_p} if self.top_p else {}),
            **({"seed": request.seed} if self.seed else {}),
        }

    def after(self, refusal: EndpointRefusedError, request: SampleRequest) -> "ResponseForm | None":
        """Return the form to use after a refusal; None if omitting what is refused would change the request."""
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


def _sent(message: Message) -> str:
    """Return a message's text as it is sent. What a model said goes back as data; the rest was made so when it was rendered."""
    return neutralise_common(message.content) if message.role == "assistant" else readable(message.content)


class TextChat:
    """The chat of an engine that works on text, without ids. The conversation is in a request's messages."""

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return no ids."""
        return ()

    def continuation(self, conversation: Sequence[Message], replies: Sequence[Message], ended: int | None = None) -> tuple[int, ...]:
        """Return no ids."""
        return ()

    def with_tools(self, tools: Sequence[ToolSpec]) -> "TextChat":
        """Refuse: what an endpoint makes of a model's own tool format cannot be checked here."""
        raise UsageError("engine openai describes tools as text; use --tool-format text")

    def harmless(self, text: str) -> str:
        """Break up the common markers: those of the endpoint's model are unknown."""
        return neutralise_common(text)

    def decode(self, tokens_T: Sequence[int]) -> str:
        """Return an empty text: there are no ids to decode."""
        return ""


class OpenAIEngine:
    """One model at one endpoint. Made by `at`; current and reference client are the engine itself."""

    isolates_snapshots = True
    batches_continuously = False  # a request that fails for good must stop the others of its call

    def __init__(self, model: str, access: EndpointAccess) -> None:
        self.chat: Chat = TextChat()
        self.model = model
        self.access = access
        self._endpoint: Endpoint | None = None
        self._form = ResponseForm()

    @classmethod
    def at(cls, base_url: str, model: str, key_env: str | None, timeout_s: float, tries: int) -> "OpenAIEngine":
        """Return the engine after checking that the endpoint serves the model.

        Raises:
            UsageError: the key's variable is not set, or the endpoint lists models without this one.
            EndpointError: it does not answer, or refuses the key.
        """
        access = EndpointAccess(base_url, read_key(key_env), key_env or KEY_ENV, timeout_s, tries)
        asyncio.run(_require_model(access, model))
        return cls(model, access)

    async def current(self) -> "OpenAIEngine":
        """Return the engine itself: the model as served."""
        return self

    async def reference(self) -> "OpenAIEngine":
        """Return the engine itself: the model as served."""
        return self

    async def sample(self, requests: Sequence[SampleRequest]) -> list[Completion]:
        """Return one completion per request, in order, all sent at once. Seeds are sent; the endpoint may ignore them.

        Raises:
            EndpointError: a request failed for good, or an answer quotes the key.
        """
        return list(await asyncio.gather(*(self._ask(request) for request in requests)))

    async def _ask(self, request: SampleRequest) -> Completion:
        if not request.messages:
            raise ValueError("a request to an endpoint needs its messages")
        answer = await self._post(request)
        if answer is None:  # the same result as from an engine that takes ids
            return Completion((), (), "", StopReason.LENGTH, Usage(0, 0))
        if answer.usage is None:
            raise EndpointError(f"{self.access.base_url} does not report token usage, and tokens cannot be counted; use one that does")
        choice, usage = answer.choices[0], Usage(answer.usage.prompt_tokens, answer.usage.completion_tokens)
        text = choice.message.content or ""
        self._open().refuse_echo(text)
        return Completion((), (), text, STOP_REASONS[choice.finish_reason], usage)

    async def _post(self, request: SampleRequest) -> _Answer | None:
        """Send the request in the form that the endpoint accepts; return None if the prompt fills the model's context."""
        while True:
            form = self._form
            try:
                return await self._open().post("chat/completions", form.body(self.model, request), _completion)
            except EndpointRefusedError as refusal:
                if refusal.code == "context_length_exceeded":
                    return None
                adapted = form.after(refusal, request)
                if adapted is None:
                    raise
                if self._form is form:  # another request may have adapted it meanwhile
                    self._form = adapted

    async def train_step(self, data: Sequence[Datum], loss: LossSpec, adam: AdamParams) -> Mapping[str, float]:
        """Refuse: the weights are the endpoint's. A method that trains is refused earlier, when its config is checked."""
        raise UsageError("engine openai cannot train: the weights are the endpoint's; use --engine hf")

    async def save(self, folder: Path) -> None:
        """Do nothing: there are no weights and no optimiser. `accounting.response_cache` keeps the responses."""

    async def load(self, folder: Path) -> None:
        """Do nothing: there is nothing to load."""

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None

    def _open(self) -> Endpoint:
        if self._endpoint is None:
            self._endpoint = Endpoint(self.access)
        return self._endpoint


def _completion(body: dict[str, Any]) -> _Answer:
    """Parse a chat completion; anything else raises TransientError, since the next try may bring one."""
    try:
        return _Answer.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TransientError(f"not a chat completion ({where}: {first['msg']})") from error


async def _require_model(access: EndpointAccess, model: str) -> None:
    """Raise UsageError if the endpoint lists its models and this one is missing."""
    endpoint = Endpoint(access)
    try:
        listed = await endpoint.get("models", dict)
    except EndpointRefusedError as refusal:
        if refusal.status in (404, 405, 501):  # listing is optional
            return
        raise
    finally:
        await endpoint.close()
    try:
        served = [row.id[:MAX_DETAIL] for row in _Listing.model_validate(listed).data]
    except ValidationError:  # another form of listing: the first request will show
        return
    if served and model not in served:
        raise unknown(f"model at {access.base_url}", model, served[:20] if model not in served[20:] else served)
