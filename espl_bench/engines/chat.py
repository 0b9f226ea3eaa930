"""Adapt a transformers tokenizer to the engine protocol's `Chat`: messages to ids, ids to text.

The format is the model's own chat template; this module knows no template. The one subtle method is `continuation`: later turns
of an episode are appended to the ids that were sampled, never re-tokenised. So it must find the ids between one assistant turn's
end-of-turn token and the next assistant turn's first token, whatever the template is, and must report when there are none: a
template may drop earlier thinking, or move the system message, once the conversation goes on.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from jinja2.exceptions import TemplateError as JinjaError
from jinja2.exceptions import TemplateSyntaxError

from espl_bench.engines.chat_rendering import DEFAULT, WITH_TOOLS, as_records, named_templates, render_chat, stand_in
from espl_bench.engines.template_clock import CLOCK, clock_at
from espl_bench.engines.template_proof import CORRECT, TemplateProof
from espl_bench.engines.thinking import SWITCHES, form_of, opened_thought, opening_of, switches_of
from espl_bench.engines.token_text import TokenText
from espl_bench.errors import ModelError, first_line
from espl_bench.tools.call_formats import CLOSE, MARKERS, OPEN
from espl_bench.tools.markers import MarkerFilter, markers_in_template, role_lines
from espl_bench.tools.tool_spec import ToolSpec
from espl_bench.types import Message, ToolCall
from espl_bench.utils import reasoning
from espl_bench.utils.bounded_templates import TemplateLimitError

_OPENING = (Message("user", "a"),)
_PROBES = ("qzxsys", "qzxasked", "qzxsaid", "qzxagain")
"""Words that no template holds, to see what it puts around a message."""
_IN_WORDS = frozenset({OPEN, CLOSE, reasoning.OPEN, reasoning.CLOSE, "<tool_response>", "</tool_response>"})
"""Tags that this project's own templates and the policy's turns hold; in what others wrote they are markers like any other."""


class HfChat:
    """The chat format and tokenizer of one model."""

    def __init__(self, tokenizer: Any, eos_ids: frozenset[int], model: str) -> None:
        """Wrap a tokenizer.

        Args:
            tokenizer: a ``PreTrainedTokenizerBase``; untyped, because transformers' own types do not pass a strict check.
            eos_ids: the ids that end an assistant turn.
            model: the model's name, for error messages.

        Raises:
            ModelError: the tokenizer has no usable chat template, or there is no id that ends a turn, or one that it does not know.
        """
        if not tokenizer.chat_template:
            raise ModelError(f"model '{model}' has no chat template; use an instruction-tuned model, or add a chat_template.jinja")
        if not eos_ids:
            raise ModelError(f"model '{model}' names no end-of-turn token; set eos_token_id in its generation_config.json")
        if unknown := sorted(eos_ids - set(tokenizer.get_vocab().values())):
            raise ModelError(
                f"model '{model}' names the end-of-turn id {unknown[0]}, which its tokenizer does not know; "
                "correct eos_token_id in its generation_config.json"
            )
        self._tokenizer = tokenizer
        self._model = model
        self._tools: tuple[ToolSpec, ...] = ()
        self._clock: str | None = None
        self._switches: dict[str, bool] = {}
        self.eos_ids = eos_ids
        self._ends = tuple(tokenizer.decode([token]) for token in sorted(eos_ids))
        self.encode(_OPENING)  # settles the tokenizer's truncation and padding, which threads must not do at once

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the token ids of the rendered messages, ending where the assistant's turn begins.

        Raises:
            ModelError: the template refuses the messages (some know no system role).
        """
        return self._render(messages, assistant_speaks=True)

    def continuation(self, conversation: Sequence[Message], replies: Sequence[Message], ended: int | None = None) -> tuple[int, ...] | None:
        """Return the ids to append to a conversation that ends with an assistant's completed turn.

        They are found by comparing texts: the conversation rendered up to the assistant's turn, and rendered with the replies.
        The second must begin with the first, continue with the assistant's text (up to white space around it), then end the
        turn. Placeholders replace what assistants said, so that the result does not depend on how the template trims it.

        Args:
            conversation: ends with the assistant's turn.
            replies: what follows.
            ended: the id that ended the assistant's turn; None: the template's own.

        Returns:
            None if the template would change anything before the replies, or would have ended the turn with another of several end ids;
            encode the whole conversation again in that case.

        Raises:
            ModelError: the template refuses the messages.
        """
        stand_ins = [stand_in(message) for message in conversation]
        asked = self._text(stand_ins[:-1], assistant_speaks=True)
        said = stand_ins[-1].content.removeprefix(self.opened(stand_ins[:-1])).strip()
        replied = self._text([*stand_ins, *replies], assistant_speaks=True)
        added = replied[len(asked) :]
        end_at, _ = min(((added.find(end), end) for end in self._ends if end in added), default=(-1, ""))
        spoken = added[: max(end_at, 0)].strip()
        exact = spoken.startswith(said) if stand_ins[-1].calls else spoken == said
        if end_at < 0 or not replied.startswith(asked) or not exact:
            return None
        tokens_T = self._ids(added[end_at:])  # tokenised after the end-of-turn token, as in the full text
        if tokens_T[:1] and tokens_T[0] in self.eos_ids and ended in (None, tokens_T[0]):
            return tokens_T[1:]
        return None

    def with_tools(self, tools: Sequence[ToolSpec]) -> Self:
        """Return the same chat with tools in its template, which renders them and their replies in the model's own format.

        Raises:
            ModelError: the template does not support tools, or writes calls in a form that is not read here.
        """
        chat = copy(self)
        chat._tools = tuple(tools)
        if chat.encode(_OPENING) == self.encode(_OPENING):
            raise ModelError(f"the chat template of '{self._model}' knows no tools; use --tool-format text")
        for tool in chat._tools:
            chat._proof.prove_call(tool, chat.decode)
        return chat

    def prove(self, *, system: bool, replies: bool) -> None:
        """Prove the template with what a run puts into it.

        Args:
            system: whether the run has a system message.
            replies: whether its episodes go on after an assistant's turn.

        Raises:
            ModelError: the template does not show a part of it, refuses it, or ends a turn with what ends no completion.
        """
        self._proof.prove(system=system, replies=replies)

    @property
    def _proof(self) -> TemplateProof:
        controls = self.eos_ids | frozenset(self._tokenizer.added_tokens_decoder)
        return TemplateProof(self._model, self._spoken, self._ids, controls, self.eos_ids, lambda token: self._tokenizer.decode([token]))

    def opened(self, messages: Sequence[Message]) -> str:
        """Return the opening tag of thoughts, and what follows it, where the rendered messages end inside thoughts; else an empty text."""
        if next(iter(self._thoughts)) not in self.template:
            return ""
        asked, unasked = (self._text(messages, assistant_speaks=speaks) for speaks in (True, False))
        return opened_thought(opening_of(asked, unasked, messages[-1].content), self._thoughts)

    def thinking(self, on: bool, option: str) -> Self:
        """Return the same chat with its template's switch for thinking turned on or off.

        Args:
            on: whether the model is to think.
            option: the option that asks for it, for error messages.

        Raises:
            ModelError: the template has none.
        """
        asked = (Message("user", "a"),)
        talks = (asked, (Message("system", "a"), *asked), (*asked, Message("assistant", "<think>\na\n</think>\n\na"), *asked))
        names = switches_of(tuple(self._switched(talk) for talk in talks))
        if not names:
            known = ", ".join(SWITCHES)
            raise ModelError(f"the chat template of '{self._model}' has no switch for thinking ({known}); leave out {option}")
        chat = copy(self)
        chat._switches = dict.fromkeys(names, on)
        return chat

    def _switched(self, talk: Sequence[Message]) -> Callable[[Mapping[str, bool]], str]:
        def render(switches: Mapping[str, bool]) -> str:
            chat = copy(self)
            chat._switches = dict(switches)
            try:
                return chat._text(talk, assistant_speaks=True)
            except ModelError:  # it refuses these roles
                return ""

        return render

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
        """Neutralise everything in a foreign text that this tokenizer or template treats as a marker."""
        return self._foreign(text)

    @cached_property
    def _foreign(self) -> MarkerFilter:
        """For what others wrote: every token of the tokenizer that is not plain text, and every marker of its template."""
        return self._filter({*self._added, *markers_in_template(self.template), *self._roles()})

    @cached_property
    def _whole(self) -> MarkerFilter:
        """For whole messages, which hold this project's own words too: the tokens alone, without the tags that we use ourselves."""
        return self._filter(self._added - _IN_WORDS)

    def _filter(self, markers: Iterable[str]) -> MarkerFilter:
        normalizer = getattr(getattr(self._tokenizer, "backend_tokenizer", None), "normalizer", None)
        wanted = frozenset(marker for marker in markers if marker.strip() and len(marker) > 1)
        return MarkerFilter(wanted) if normalizer is None else MarkerFilter(wanted, normalizer.normalize_str)

    @property
    def _added(self) -> set[str]:
        added = self._tokenizer.added_tokens_decoder.values()
        return {token.content for token in added if token.special or not token.content.strip().isalnum()}

    def _roles(self) -> Iterator[str]:
        """Yield the roles that the template names in words, as it renders them."""
        system, asked, said, again = _PROBES
        talk = (Message("user", asked), Message("assistant", said), Message("user", again))
        for messages in ((Message("system", system), *talk), talk):
            try:
                rendered = self._rendered(as_records(messages), assistant_speaks=True)
            except ModelError:  # it refuses this role
                continue
            yield from role_lines(rendered, _PROBES)
            yield from markers_in_template(rendered)

    def decode(self, tokens_T: Sequence[int]) -> str:
        """Return the text of sampled tokens, without special tokens but the markers of thoughts, as ``<think>``, and of calls."""
        return self._token_text.decode(tokens_T)

    def lengths(self, tokens_T: Sequence[int], text: str) -> tuple[int, ...]:
        """Count the characters of the decoded `text` that each token adds, as `TokenText.lengths` does."""
        return self._token_text.lengths(tokens_T, text)

    @cached_property
    def _thoughts(self) -> Mapping[str, str]:
        return form_of(self.template)

    @cached_property
    def _token_text(self) -> TokenText:
        calls = {marker: marker for marker in MARKERS if marker in self.template or marker in (OPEN, CLOSE)}
        return TokenText(self._tokenizer, {**calls, **self._thoughts})

    def read(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a plain text; markers in it are text."""
        return tuple(self._tokenizer(self._whole(text), add_special_tokens=False, verbose=False)["input_ids"])  # it may exceed the context

    @property
    def unknown(self) -> int | None:
        """Return the id of what the tokenizer does not know, if it has one."""
        return self._tokenizer.unk_token_id

    def _render(self, messages: Sequence[Message], *, assistant_speaks: bool) -> tuple[int, ...]:
        return self._ids(self._text(messages, assistant_speaks=assistant_speaks))

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _spoken(self, messages: Sequence[Message], assistant_speaks: bool) -> str:
        return self._text(messages, assistant_speaks=assistant_speaks)

    def _text(self, messages: Sequence[Message], *, assistant_speaks: bool) -> str:
        return self._rendered(as_records([self._neutral(message) for message in messages]), assistant_speaks=assistant_speaks)

    def _neutral(self, message: Message) -> Message:
        """Return a message without tokens of the chat format in its text.

        Thoughts that the model marks otherwise than by ``<think>`` stay in the turn that was sampled; a rendering anew leaves them out.
        """
        calls = tuple(ToolCall(call.tool, self._whole(call.arguments)) for call in message.calls)
        thinks_otherwise = message.role == "assistant" and reasoning.OPEN not in self._thoughts
        content = reasoning.strip_reasoning(message.content) if thinks_otherwise else message.content
        return replace(message, content=self._whole(content), calls=calls)

    def _rendered(self, conversation: list[dict[str, Any]], *, assistant_speaks: bool) -> str:
        tools = [tool.schema() for tool in self._tools] or None
        named = named_templates(self._tokenizer.chat_template, self._model)
        template = (self._clock or "") + (named.get(WITH_TOOLS, named[DEFAULT]) if tools else named[DEFAULT])
        tokens, switches = self._tokenizer.special_tokens_map, self._switches
        try:
            return render_chat(template, conversation, tools, tokens, assistant_speaks=assistant_speaks, switches=switches)
        except TemplateLimitError as error:
            raise ModelError(f"the chat template of '{self._model}' does not end: {error}; use another model, or correct it") from error
        except TemplateSyntaxError as error:
            raise ModelError(
                f"the chat template of '{self._model}' is no template: line {error.lineno}: {error.message}; {CORRECT}"
            ) from error
        except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:  # those of its expressions
            roles = [message["role"] for message in conversation]
            refused = f"the chat template of '{self._model}' refuses the roles {', '.join(roles)}: {first_line(error)}"
            raise ModelError(f"{refused}; {_remedy(roles)}") from error


def _remedy(roles: Sequence[str]) -> str:
    """Return what may help where a template refuses these roles."""
    if "tool" in roles:
        return "try --tool-format text"
    return "try --placement user" if "system" in roles else CORRECT
