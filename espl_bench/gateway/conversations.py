"""The conversations of one session: which earlier one a request goes on with, and the tokens that are appended to it.

An agent sends its whole conversation every time. One that begins with all that an earlier completion saw, and with that completion, goes
on with it: its sampled ids stay as they are, and what is new is appended as the chat template's own increment (`Chat.continuation`). An
agent may go on from any earlier completion, more than once: the first time the branch grows, every other time a new one begins, whose
prompt holds the earlier ids. Any other conversation begins a branch of its own. Each branch is a token sequence to train on, or several
where the chat template changes earlier text, and every sampled token counts in exactly one of them.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from espl_bench.engines.engine import Chat
from espl_bench.engines.rendered_chat import opened_by
from espl_bench.gateway.chat_wire import Asked, Reply
from espl_bench.tools.calls import read_calls
from espl_bench.types import Completion, Message, Observation, Turn
from espl_bench.utils.reasoning import CLOSE, OPEN, strip_reasoning

Place = Callable[[tuple[Message, ...]], tuple[Message, ...]]
"""Puts the policy's own prompt into a conversation."""


@dataclass(frozen=True, slots=True)
class Context:
    """A conversation that waits for its completion."""

    asked: Asked
    chat: Chat
    """With the tools that were asked for."""
    messages: tuple[Message, ...]
    """The conversation as the policy sees it."""
    tokens_T: tuple[int, ...]
    observation_T: tuple[int, ...]
    """The part that was appended; all of it at the beginning of a branch."""
    observations: tuple[Observation, ...]
    """The same in words."""
    thought: str
    """What opens the policy's thoughts at the end of the conversation."""
    branch: int | None = None
    """The branch that it goes on with; None: a new one."""
    starts_segment: bool = False
    """True if a branch goes on in a new token sequence."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A completion, cut before the first of the texts that end it, if the agent named any."""

    completion: Completion
    """The tokens that are kept."""
    text: str
    """What the agent reads: a part of the last token's text may be left out."""
    is_whole: bool
    """Whether the policy ended it: what was cut cannot be gone on from without being rendered again."""
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class _Node:
    """The state after a completion, from which an agent may go on."""

    branch: int
    tools_key: str
    sent: tuple[Message, ...]
    """The conversation as the agent knows it, the completion included."""
    messages: tuple[Message, ...]
    """The same as the policy saw it."""
    tokens_T: tuple[int, ...]
    ended: int | None
    """The id that ended the completion."""
    is_whole: bool
    """`Sampled.is_whole`."""


@dataclass
class Conversations:
    """The conversations of a session so far. Not thread-safe: a session asks for one completion at a time."""

    place: Place
    known: Message | None = None
    """A message that needs no words in a record, because the record holds it: the question."""
    branches: list[list[Turn]] = field(default_factory=list[list[Turn]])
    nodes: list[_Node] = field(default_factory=list[_Node])

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Every turn, branch by branch in the order in which they began."""
        return tuple(
            replace(turn, starts_segment=turn.starts_segment or (place == 0 and number > 0))
            for number, branch in enumerate(self.branches)
            for place, turn in enumerate(branch)
        )

    def context(self, asked: Asked, chat: Chat) -> Context:
        """Return what the policy is to complete. Raises ModelError if the chat template refuses it."""
        node = max((node for node in self.nodes if _extends(asked, node)), key=lambda node: len(node.sent), default=None)
        if node is None:
            messages = self.place(tuple(_harmless(message, chat) for message in asked.messages))
            tokens_T = chat.encode(messages)
            alone = self.known is not None and asked.messages == (self.known,)
            heard = () if alone and not self.branches else _in_words(asked.messages, chat)
            return Context(asked, chat, messages, tokens_T, tokens_T, heard, opened_by(chat, messages))
        replies = tuple(_harmless(message, chat) for message in asked.messages[len(node.sent) :])
        messages = (*node.messages, *replies)
        appended_T = chat.continuation(node.messages, replies, node.ended) if node.is_whole else None
        tokens_T = chat.encode(messages) if appended_T is None else (*node.tokens_T, *appended_T)
        is_tip = node is next(other for other in reversed(self.nodes) if other.branch == node.branch)
        goes_on_T = appended_T if is_tip else None
        return Context(
            asked,
            chat,
            messages,
            tokens_T,
            observation_T=tokens_T if goes_on_T is None else goes_on_T,
            observations=_in_words(replies, chat),
            thought=opened_by(chat, messages),
            branch=node.branch if is_tip else None,
            starts_segment=is_tip and goes_on_T is None,
        )

    def keep(self, context: Context, sampled: Sampled) -> Reply:
        """Keep a completion as a turn, and return what the agent reads of it."""
        reply = _read(context, sampled, len(self.nodes))
        completion = sampled.completion
        branch = len(self.branches) if context.branch is None else context.branch
        if context.branch is None:
            self.branches.append([])
        self.branches[branch].append(Turn(context.observation_T, completion, context.observations, context.starts_segment))
        seen = Message("assistant", reply.content, reply.calls)
        self.nodes.append(
            _Node(
                branch=branch,
                tools_key=context.asked.tools_key,
                sent=(*context.asked.messages, seen),
                messages=(*context.messages, seen if reply.calls else Message("assistant", sampled.text)),
                tokens_T=(*context.tokens_T, *completion.tokens_T),
                ended=next(reversed(completion.tokens_T), None),
                is_whole=sampled.is_whole,
            )
        )
        return reply


def _read(context: Context, sampled: Sampled, number: int) -> Reply:
    """Separate thoughts, calls and text. A turn with a malformed call is a text, which the agent may answer as it likes."""
    text, completion, prompt_tokens = sampled.text, sampled.completion, sampled.prompt_tokens
    said = strip_reasoning(text)
    reasoning = "" if said == text else text.partition(CLOSE)[0].replace(OPEN, "").strip()
    reading = read_calls(said, context.asked.tools) if context.asked.tools else None
    calls = tuple(request.call for request in reading.requests if request.call is not None) if reading else ()
    if reading is None or not calls or len(calls) < len(reading.requests):
        return Reply(completion, said, reasoning, (), prompt_tokens, number)
    return Reply(completion, reading.said.strip(), reasoning, calls, prompt_tokens, number)


def _extends(asked: Asked, node: _Node) -> bool:
    """Return whether a conversation goes on from a completion."""
    known = len(node.sent)
    return (
        len(asked.messages) > known
        and asked.tools_key == node.tools_key
        and all(_same(own, other) for own, other in zip(node.sent, asked.messages[:known], strict=True))
    )


def _same(sent: Message, comes_back: Message) -> bool:
    """Compare a message with the one that came back; white space around what the policy said does not matter."""
    if sent.role != "assistant":
        return sent == comes_back
    return (
        comes_back.role == "assistant"
        and sent.content.strip() == comes_back.content.strip()
        and [(call.tool, json.loads(call.arguments)) for call in sent.calls]
        == [(call.tool, json.loads(call.arguments)) for call in comes_back.calls]
    )


def _harmless(message: Message, chat: Chat) -> Message:
    """Neutralise the markers of the chat format in what a tool returned; in all other messages the chat itself does it."""
    return replace(message, content=chat.harmless(message.content)) if message.role == "tool" else message


def _in_words(messages: Sequence[Message], chat: Chat) -> tuple[Observation, ...]:
    """Return messages as a record holds them: the user's without a name, all others under the tool's or the role's."""
    return tuple(Observation(chat.harmless(message.content), _speaker(message)) for message in messages)


def _speaker(message: Message) -> str | None:
    return None if message.role == "user" else message.tool or message.role
