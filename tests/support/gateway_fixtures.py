"""A session whose policy says what it is told to, in any family's chat format."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from espl_bench.engines.chat import HfChat
from espl_bench.engines.sampled import Sampled
from espl_bench.gateway.chat_wire import Reply, completion_body, read_request
from espl_bench.gateway.conversations import Conversations, Place
from espl_bench.gateway.server import GatewayServer
from espl_bench.gateway.session import Sampling, Session
from espl_bench.types import Completion, Message, SampleRequest, StopReason
from espl_bench.utils.jsonl import encode

Body = dict[str, Any]
HANG_S = 60.0


def said(chat: HfChat, text: str, *, cut: bool = False) -> Completion:
    """A completion with this text, as an engine decodes it."""
    end = chat._ends[0]
    tokens = chat._ids(text) if cut else chat._ids(text + end)
    reason = StopReason.LENGTH if cut else StopReason.STOP
    return Sampled(tuple(tokens), tuple(-0.01 * place for place in range(len(tokens))), reason).completion(chat)


@dataclass
class Policy:
    """Says one text after the other, and keeps the requests."""

    chat: HfChat
    texts: list[str]
    cut: int | None = None
    """The completion that the token limit ends."""
    requests: list[SampleRequest] = field(default_factory=list)

    async def ask(self, request: SampleRequest) -> Completion:
        self.requests.append(request)
        number = len(self.requests) - 1
        return said(self.chat, self.texts[min(number, len(self.texts) - 1)], cut=number == self.cut)


@dataclass
class Agent:
    """An agent's side of a session, without sockets."""

    policy: Policy
    place: Place = tuple
    known: Message | None = None
    max_completions: int = 10
    settings: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        sampling = Sampling(self.policy.chat, **{"max_tokens": 100, **self.settings})
        conversations = Conversations(self.place, self.known)
        self.session = Session(sampling, self.policy.ask, lambda turn: 1000 + turn, conversations, self.max_completions)

    def asks(self, *messages: Body, **fields: Any) -> Body:
        """Send a conversation, and return the message of the answer."""
        reply = asyncio.run(self.session.complete(read_request(body(messages, **fields))))
        return as_sent(reply)


def body(messages: Sequence[Body], **fields: Any) -> bytes:
    return encode({"model": "policy", "messages": list(messages), **fields})


def as_sent(reply: Reply) -> Body:
    return completion_body(reply, "s", 0, False)["choices"][0]["message"]


def user(text: str) -> Body:
    return {"role": "user", "content": text}


def tool(name: str, **properties: str) -> Body:
    shape = {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()}, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": f"the tool {name}", "parameters": shape}}


@contextmanager
def served(policy: Policy, *, open_to_all: bool = False) -> Iterator[GatewayServer]:
    """A server in an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def made() -> GatewayServer:
        return GatewayServer(begin=(lambda name: session(policy)) if open_to_all else None)

    server = asyncio.run_coroutine_threadsafe(made(), loop).result(HANG_S)
    try:
        with server.serving():
            yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(HANG_S)
        loop.close()


def session(policy: Policy) -> Session:
    return Session(Sampling(policy.chat, 100), policy.ask, lambda turn: turn, Conversations(tuple), 10)
