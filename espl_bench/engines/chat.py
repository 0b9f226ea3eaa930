"""Adapt a transformers tokenizer to the engine protocol's `Chat`: messages to ids, ids to text.

The format is the model's own chat template; this module knows no template. The one subtle method is `continuation`: later turns
of an episode are appended to the ids that were sampled, never re-tokenised. So it must find the ids between one assistant turn's
end-of-turn token and the next assistant turn's first token, whatever the template is, and must report when there are none: a
template may drop earlier thinking, or move the system message, once the conversation goes on.
"""

import json
import re
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from jinja2.exceptions import TemplateError as JinjaError
from tokenizers.decoders import DecodeStream

from espl_bench.engines.template_clock import CLOCK, clock_at
from espl_bench.errors import ModelError
from espl_bench.tools.sanitize import escape_markers
from espl_bench.tools.tool_spec import ToolSpec
from espl_bench.types import Message, ToolCall
from espl_bench.utils import reasoning

_OPENING = (Message("user", "a"),)
_SAID = "a"
_CALL_ID = "call{:05d}"
"""Ids of calls in a model's own format; nine characters, as Mistral's templates demand."""
_IN_TEMPLATE = re.compile(r"<\|[^|<>\s]{1,40}\|>|</?[A-Za-z_]{2,40}>|\[/?[A-Z][A-Z_ ]{1,30}\]|<<?/?[A-Za-z]{1,10}>>?")
"""Markers in the text of a template. Those that are not tokens of their own still act as markers to the model."""


class HfChat:
    """The chat format and tokenizer of one model."""

    def __init__(self, tokenizer: Any, eos_ids: frozenset[int], model: str) -> None:
        """Wrap a tokenizer.

        Args:
            tokenizer: a ``PreTrainedTokenizerBase``; untyped, because transformers' own types do not pass a strict check.
            eos_ids: the ids that end an assistant turn.
            model: the model's name, for error messages.

        Raises:
            ModelError: the tokenizer has no usable chat template, or there is no id that ends a turn.
        """
        if not tokenizer.chat_template:
            raise ModelError(f"model '{model}' has no chat template; use an instruction-tuned model, or add a chat_template.jinja")
        if not eos_ids:
            raise ModelError(f"model '{model}' names no end-of-turn token; set eos_token_id in its generation_config.json")
        self._tokenizer = tokenizer
        self._model = model
        self._tools: tuple[ToolSpec, ...] = ()
        self._clock: str | None = None
        self.eos_ids = eos_ids
        self._ends = tuple(tokenizer.decode([token]) for token in sorted(eos_ids))
        self.encode(_OPENING)  # settles the tokenizer's truncation and padding, which threads must not do at once

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the token ids of the rendered messages, ending where the assistant's turn begins.

        Raises:
            ModelError: the template refuses the messages (some know no system role).
        """
        return self._render(messages, assistant_speaks=True)

    def continuation(self, conversation: Sequence[Message], replies: Sequence[Message]) -> tuple[int, ...] | None:
        """Return the ids to append to a conversation that ends with an assistant's completed turn.

        They are found by comparing texts: the conversation rendered up to the assistant's turn, and rendered with the replies.
        The second must begin with the first, continue with the assistant's text (up to white space around it), then end the
        turn. Placeholders replace what assistants said, so that the result does not depend on how the template trims it.

        Returns:
            None if the template would change anything before the replies; encode the whole conversation again in that case.

        Raises:
            ModelError: the template refuses the messages.
        """
        stand_ins = [_stand_in(message) for message in conversation]
        said = stand_ins[-1].content
        asked = self._text(stand_ins[:-1], assistant_speaks=True)
        replied = self._text([*stand_ins, *replies], assistant_speaks=True)
        added = replied[len(asked) :]
        end_at, _ = min(((added.find(end), end) for end in self._ends if end in added), default=(-1, ""))
        spoken = added[: max(end_at, 0)].strip()
        exact = spoken.startswith(said) if stand_ins[-1].calls else spoken == said
        if end_at < 0 or not replied.startswith(asked) or not exact:
            return None
        tokens_T = self._ids(added[end_at:])  # tokenised after the end-of-turn token, as in the full text
        return tokens_T[1:] if tokens_T[:1] and tokens_T[0] in self.eos_ids else None

    def with_tools(self, tools: Sequence[ToolSpec]) -> Self:
        """Return the same chat with tools in its template, which renders them and their replies in the model's own format.

        Raises:
            ModelError: the template does not support tools.
        """
        chat = copy(self)
        chat._tools = tuple(tools)
        if chat.encode(_OPENING) == self.encode(_OPENING):
            raise ModelError(f"the chat template of '{self._model}' knows no tools; use --tool-format text")
        return chat

    @property
    def template(self) -> str:
        """Return the chat template, or all of them if it has several, as text."""
        return str(self._tokenizer.chat_template)

    def dated(self, now: datetime) -> Self:
        """Return the same chat with a template that reads this time wherever it asks for the present."""
        chat = copy(self)
        chat._clock = clock_at(now) if CLOCK in self.template else None
        return chat

    def harmless(self, text: str) -> str:
        """Escape everything in a foreign text that this tokenizer or template treats as a marker."""
        return escape_markers(text, self._markers)

    @cached_property
    def _markers(self) -> frozenset[str]:
        added = [token for token in self._tokenizer.added_tokens_decoder.values() if token.special or not token.content.strip().isalnum()]
        in_template = _IN_TEMPLATE.findall(str(self._tokenizer.chat_template))
        return frozenset(text for text in (*(token.content for token in added), *in_template) if text.strip() and len(text) > 1)

    def decode(self, tokens_T: Sequence[int]) -> str:
        """Return the text of sampled tokens, without special tokens."""
        return self._tokenizer.decode(list(tokens_T), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def lengths(self, tokens_T: Sequence[int], text: str) -> tuple[int, ...]:
        """Count the characters of the decoded `text` that each token adds; a character of several tokens counts for the last.

        Empty if the tokens, decoded one after the other, do not make up the text.
        """
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            return ()
        stream = DecodeStream(skip_special_tokens=True)
        try:
            pieces = [stream.step(backend, token) or "" for token in tokens_T]
        except Exception:  # noqa: BLE001  (some decoders rewrite earlier output; the package has no narrower error for it)
            return ()
        joined = "".join(pieces)
        held_back = text.removeprefix(joined)  # the rest of a character that was cut off
        if not pieces or len(joined) + len(held_back) != len(text) or held_back.strip("\ufffd"):
            return ()
        return (*map(len, pieces[:-1]), len(pieces[-1]) + len(held_back))

    def _render(self, messages: Sequence[Message], *, assistant_speaks: bool) -> tuple[int, ...]:
        return self._ids(self._text(messages, assistant_speaks=assistant_speaks))

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _text(self, messages: Sequence[Message], *, assistant_speaks: bool) -> str:
        tools = [tool.schema() for tool in self._tools] or None
        stopped = None if self._clock is None else self._clock + self._tokenizer.get_chat_template(tools=tools)
        try:
            return self._tokenizer.apply_chat_template(
                _conversation(messages),
                tools=tools,
                chat_template=stopped,
                add_generation_prompt=assistant_speaks,
                tokenize=False,
            )
        except JinjaError as error:
            roles = ", ".join(message.role for message in messages)
            remedy = "--tool-format text" if any(message.role == "tool" for message in messages) else "--placement user"
            raise ModelError(f"the chat template of '{self._model}' refuses the roles {roles}: {error}; try {remedy}") from error


def _stand_in(message: Message) -> Message:
    """Replace what an assistant said by one letter, and its thinking, if any, by another; return other messages unchanged."""
    if message.role != "assistant":
        return message
    said = "" if message.calls else _SAID
    if reasoning.CLOSE in message.content:
        opened = f"{reasoning.OPEN}\n" if reasoning.OPEN in message.content else ""
        said = f"{opened}{_SAID}\n{reasoning.CLOSE}\n\n{said}".rstrip()
    return replace(message, content=said, calls=tuple(ToolCall(call.tool, "{}") for call in message.calls))


def _conversation(messages: Sequence[Message]) -> list[dict[str, Any]]:
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
