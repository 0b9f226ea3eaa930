"""A transformers tokenizer as the `Chat` of the engine protocol: messages to ids, ids to text.

The format is the model's own chat template; nothing of it is known here. The one subtle thing is `continuation`: later
turns of an episode are appended to the ids that were sampled, never re-tokenised, so it must yield the ids between one
assistant turn's end-of-turn token and the next assistant turn's first token, whatever the template is.
"""

from collections.abc import Sequence
from typing import Any

from jinja2.exceptions import TemplateError as JinjaError
from tokenizers.decoders import DecodeStream

from espl_bench.errors import ModelError
from espl_bench.types import Message

_OPENING = (Message("user", "a"),)
_ANSWERED = (*_OPENING, Message("assistant", "a"))


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
        self.eos_ids = eos_ids
        self.encode(_OPENING)  # settles the tokenizer's truncation and padding, which threads must not do at once

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of the rendered messages, ending where the assistant is to speak.

        Raises:
            ModelError: the template refuses the messages (some know no system role).
        """
        return self._render(messages, assistant_speaks=True)

    def continuation(self, message: Message) -> tuple[int, ...]:
        """Ids to append after an assistant turn that ended with its end-of-turn token.

        Found by rendering a stand-in conversation with the message and cutting it behind the end of the assistant's
        turn; the turns before it are counted, so that the message's own text cannot move the cut.

        Raises:
            ModelError: the template does not close an assistant turn with an end-of-turn token.
        """
        turns_before = sum(token in self.eos_ids for token in self._render(_OPENING, assistant_speaks=False))
        tokens_T = self._render((*_ANSWERED, message), assistant_speaks=True)
        ends = [place for place, token in enumerate(tokens_T) if token in self.eos_ids]
        if len(ends) <= turns_before:
            raise ModelError(
                f"the chat template of '{self._model}' does not end an assistant turn with an end-of-turn token; "
                "use it for single-turn environments only"
            )
        return tokens_T[ends[turns_before] + 1 :]

    def decode(self, tokens_T: Sequence[int]) -> str:
        """The text of sampled tokens, special tokens left out."""
        return self._tokenizer.decode(list(tokens_T), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def lengths(self, tokens_T: Sequence[int], text: str) -> tuple[int, ...]:
        """How many characters of the decoded `text` each token brought; a character of several tokens comes with its last.

        Empty if the tokens, decoded one after the other, do not make up the text.
        """
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            return ()
        stream = DecodeStream(skip_special_tokens=True)
        pieces = [stream.step(backend, token) or "" for token in tokens_T]
        joined = "".join(pieces)
        if not text.startswith(joined):
            return ()
        held_back = len(text) - len(joined)  # of a character that was cut off
        return (*map(len, pieces[:-1]), len(pieces[-1]) + held_back) if pieces else ()

    def _render(self, messages: Sequence[Message], *, assistant_speaks: bool) -> tuple[int, ...]:
        conversation = [{"role": message.role, "content": message.content} for message in messages]
        try:
            ids = self._tokenizer.apply_chat_template(
                conversation, add_generation_prompt=assistant_speaks, tokenize=True, return_dict=False
            )
        except JinjaError as error:
            roles = ", ".join(message.role for message in messages)
            raise ModelError(
                f"the chat template of '{self._model}' refuses the roles {roles}: {error}; try prompt_placement = user"
            ) from error
        return tuple(ids)
