"""Decode sampled tokens: their text without special tokens, but with the markers that are part of what a model says.

Some tokenizers make ``<think>`` or the marker of a tool call a special token. Decoded away, thoughts would look like an answer, and a call
like plain text. So a `TokenText` knows the markers to keep, each with the text that stands for it: ``[THINK]`` is read as ``<think>``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tokenizers.decoders import DecodeStream


@dataclass(frozen=True)
class TokenText:
    """The decoder of one tokenizer."""

    tokenizer: Any
    """A ``PreTrainedTokenizerBase``, untyped as in `chat`."""
    kept: Mapping[str, str]
    """Markers, and the text to read each as."""

    def decode(self, tokens_T: Sequence[int]) -> str:
        """Return the text of tokens."""
        if not self._special and not self._words:
            return self._plain(tokens_T)
        text = "".join(part if isinstance(part, str) else self._plain(part) for part in self._parts(tokens_T))
        for marker, read_as in self._words:
            text = text.replace(marker, read_as)
        return text

    def lengths(self, tokens_T: Sequence[int], text: str) -> tuple[int, ...]:
        """Count the characters of the decoded `text` that each token adds; a character of several tokens counts for the last.

        Empty if the tokens, decoded one after the other, do not make up the text.
        """
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
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

    def _plain(self, tokens_T: Sequence[int]) -> str:
        return self.tokenizer.decode(list(tokens_T), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _parts(self, tokens_T: Sequence[int]) -> Iterator[str | Sequence[int]]:
        """Yield runs of tokens, and the texts of the markers between them."""
        start = at = 0
        while at < len(tokens_T):
            found = next((pair for pair in self._special if tuple(tokens_T[at : at + len(pair[0])]) == pair[0]), None)
            if found is None:
                at += 1
                continue
            yield tokens_T[start:at]
            yield found[1]
            start = at = at + len(found[0])
        yield tokens_T[start:]

    @cached_property
    def _special(self) -> tuple[tuple[tuple[int, ...], str], ...]:
        """The markers that hold a special token, as ids, the longest first."""
        added = {number for number, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        special = {*added, *self.tokenizer.all_special_ids} - {self.tokenizer.unk_token_id}
        read = [(tuple(self.tokenizer(marker, add_special_tokens=False)["input_ids"]), text) for marker, text in self.kept.items()]
        return tuple(sorted((pair for pair in read if special & set(pair[0])), key=lambda pair: -len(pair[0])))

    @cached_property
    def _words(self) -> tuple[tuple[str, str], ...]:
        """The other markers that are read as another text, the longest first."""
        return tuple(sorted(((marker, text) for marker, text in self.kept.items() if marker != text), key=lambda pair: -len(pair[0])))
