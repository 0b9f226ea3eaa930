"""One agent's use of a policy: each request becomes one sampling request, and each completion a turn with its ids and log-probabilities.

A session samples one completion at a time, in the order in which requests come: its seeds count its completions, so an agent that does the
same again gets the same. What is refused, is refused with a reason that the agent reads.
"""

import asyncio
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from itertools import accumulate
from typing import Any, Final

from espl_bench.engines.engine import Chat
from espl_bench.errors import EsplError
from espl_bench.gateway.chat_wire import Asked, RefusedRequestError, Reply
from espl_bench.gateway.conversations import Context, Conversations, Sampled
from espl_bench.learning.datums import joined
from espl_bench.prompts.dialect import Placement
from espl_bench.types import Completion, Limit, Message, SampleRequest, StopReason, Turn, segments_of
from espl_bench.utils.foreign_text import readable

MOST_WAITING: Final = 16
"""Requests of a session that may wait for one another."""
MOST_FORMATS: Final = 64
"""Different lists of tools whose chats are kept."""

Ask = Callable[[SampleRequest], Awaitable[Completion]]
"""Samples one completion."""


@dataclass(frozen=True)
class Sampling:
    """How a policy is sampled through a gateway, the same for all sessions of a batch or a server."""

    chat: Chat
    max_tokens: int
    """Of a completion, unless fewer are asked for."""
    temperature: float = 1.0
    """Whatever is asked for: what is trained on was drawn at one temperature."""
    top_p: float = 1.0
    max_context: int | None = None
    """Tokens of a conversation, completions included; None: the size of the model's context."""
    _formats: dict[str, Chat] = field(default_factory=dict[str, Chat], init=False)

    def chat_of(self, asked: Asked) -> Chat:
        """Return the chat with the tools of a request. Raises RefusedRequestError if it has no format for them."""
        if not asked.tools:
            return self.chat
        known = self._formats.get(asked.tools_key)
        if known is None:
            try:
                known = self.chat.with_tools(asked.tools)
            except EsplError as error:
                raise RefusedRequestError(f"tools: {str(error).partition(';')[0]}; describe them in words") from error
            if len(self._formats) < MOST_FORMATS:
                self._formats[asked.tools_key] = known
        return known


class Session:
    """The conversations of one agent with the policy."""

    def __init__(
        self, sampling: Sampling, ask: Ask, seed_of: Callable[[int], int], conversations: Conversations, max_completions: int
    ) -> None:
        """Begin.

        Args:
            sampling: how the policy is sampled.
            ask: samples; called in the event loop that `complete` runs in.
            seed_of: seed of the session's n-th completion.
            conversations: none yet, with the prompt that is placed in each.
            max_completions: after them, requests are refused.
        """
        self.sampling = sampling
        self.conversations = conversations
        self.max_completions = max_completions
        self.limit: Limit | None = None
        """The limit because of which a request was refused."""
        self.fault: Exception | None = None
        """Why the policy could not be sampled."""
        self.failed = asyncio.Event()
        self._ask = ask
        self._seed_of = seed_of
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._busy_since: float | None = None
        self._served_s = 0.0
        self._closed = False

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The turns so far."""
        return self.conversations.turns

    @property
    def served_s(self) -> float:
        """Seconds during which a request was waiting for its answer."""
        return self._served_s + (0.0 if self._busy_since is None else time.monotonic() - self._busy_since)

    async def complete(self, asked: Asked) -> Reply:
        """Answer a request. Raises RefusedRequestError."""
        if self._waiting >= MOST_WAITING:
            raise RefusedRequestError(f"{MOST_WAITING} requests of this session wait already", HTTPStatus.TOO_MANY_REQUESTS, "rate_limit")
        self._waiting += 1
        self._busy_since = self._busy_since or time.monotonic()
        try:
            async with self._turn:
                return await self._complete(asked)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._served_s, self._busy_since = self.served_s, None

    async def close(self) -> None:
        """Refuse further requests, and wait for the one that is being answered."""
        self._closed = True
        async with self._turn:
            return

    async def _complete(self, asked: Asked) -> Reply:
        if self._closed or self.fault is not None:
            raise RefusedRequestError("this session is over", HTTPStatus.GONE, "session_over")
        if len(self.conversations.nodes) >= self.max_completions:
            raise self._at(Limit.TURNS, f"this session has had its {self.max_completions} completions")
        try:
            context = await asyncio.to_thread(lambda: self.conversations.context(asked, self.sampling.chat_of(asked)))
        except EsplError as error:
            raise RefusedRequestError(str(error)) from error
        request = self._request(context)
        try:
            completion = await self._ask(request)
        except Exception as error:
            self.fault = error
            self.failed.set()
            raise RefusedRequestError("the policy cannot be sampled", HTTPStatus.GONE, "session_over") from error
        if completion.stop_reason is StopReason.LENGTH and not completion.sampled_tokens:
            raise self._at(Limit.TOKENS, f"the conversation's {len(context.tokens_T)} tokens leave the model no room for an answer")
        completion = completion.after(context.thought)
        sampled = _cut(replace(completion, text=readable(completion.text)), asked.stops, len(request.prompt_T))
        return self.conversations.keep(context, sampled)

    def _request(self, context: Context) -> SampleRequest:
        asked, sampling = context.asked, self.sampling
        room = sampling.max_tokens if sampling.max_context is None else sampling.max_context - len(context.tokens_T)
        if room < 1:
            raise self._at(Limit.TOKENS, f"the conversation has {len(context.tokens_T)} tokens, and {sampling.max_context} with its answer")
        _tell_overruled(asked, sampling)
        return SampleRequest(
            prompt_T=context.tokens_T,
            seed=self._seed_of(len(self.conversations.nodes)),
            max_tokens=min(sampling.max_tokens, room, asked.max_tokens or room),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            messages=context.messages,
        )

    def _at(self, limit: Limit, what: str) -> RefusedRequestError:
        self.limit = limit
        return RefusedRequestError(what, code="context_length_exceeded" if limit is Limit.TOKENS else "session_over")


def _tell_overruled(asked: Asked, sampling: Sampling) -> None:
    """Say once that agents ask to be sampled otherwise than they are."""
    for name, wanted, given in (("temperature", asked.temperature, sampling.temperature), ("top_p", asked.top_p, sampling.top_p)):
        if wanted not in (None, given):
            warnings.warn(f"an agent asks for {name} {wanted:g} and gets {given:g}, as set here", RuntimeWarning, stacklevel=2)


def _cut(completion: Completion, stops: Sequence[str], prompt_tokens: int) -> Sampled:
    """Cut a completion before the first of the texts that end it: tokens wholly behind that place are dropped.

    Raises RefusedRequestError if it is not known which token made which text.
    """
    prompt_tokens = completion.usage.prompt if completion.usage else prompt_tokens
    found = [at for stop in stops if (at := completion.text.find(stop)) >= 0]
    if not found:
        return Sampled(completion, completion.text, completion.stop_reason is StopReason.STOP, prompt_tokens)
    text = completion.text[: min(found)]
    if not completion.lengths_T:
        if completion.tokens_T:
            raise RefusedRequestError("stop: this engine does not say which token made which text; leave it out")
        return Sampled(replace(completion, text=text), text, False, prompt_tokens)
    kept = next((count for count, end in enumerate(accumulate(completion.lengths_T), start=1) if end >= len(text)), 0) if text else 0
    lengths_T = completion.lengths_T[:kept]
    cut = replace(completion, tokens_T=completion.tokens_T[:kept], logprobs_T=completion.logprobs_T[:kept], lengths_T=lengths_T)
    return Sampled(replace(cut, text=completion.text[: sum(lengths_T)], stop_reason=StopReason.STOP), text, False, prompt_tokens)


def placing(prompt: str, placement: Placement) -> Callable[[tuple[Message, ...]], tuple[Message, ...]]:
    """Return what puts a prompt in front of what an agent says itself: of its system message, or of the user's first message."""

    def place(messages: tuple[Message, ...]) -> tuple[Message, ...]:
        role = "user" if placement is Placement.USER else "system"
        own = next((index for index, message in enumerate(messages) if message.role == role), None)
        if own is None or (role == "system" and own > 0):
            return (Message(role, prompt), *messages)
        led = replace(messages[own], content=f"{prompt}\n\n{messages[own].content}")
        return (*messages[:own], led, *messages[own + 1 :])

    return place


def trace(turns: Sequence[Turn]) -> list[Mapping[str, Any]]:
    """Return the token sequences of turns as plain data: ids, which of them were sampled, and their log-probabilities."""
    found: list[Mapping[str, Any]] = []
    for segment in segments_of(turns):
        datum = joined(segment, 0.0, 1.0)
        texts = [turn.completion.text for turn in segment]
        stops = [turn.completion.stop_reason.value for turn in segment]
        found.append({"tokens": datum.tokens_T, "mask": datum.mask_T, "logprobs": datum.logprobs_T, "texts": texts, "stop_reasons": stops})
    return found
