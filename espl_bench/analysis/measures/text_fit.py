"""Perplexity of a text that has nothing to do with the task: what training a run's weights cost elsewhere."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from espl_bench.accounting.ledger import Ledger, metered_score
from espl_bench.engines.engine import Chat, ReadingChat, ScoringEngine
from espl_bench.errors import UsageError
from espl_bench.types import Datum
from espl_bench.utils.named_files import read_named_text

WINDOW: Final = 256
"""Tokens that are read at a time. The first of a window is context for the others."""
MOST: Final = 20_000
"""Tokens of a text that are read; the rest is left out."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text as the model reads it."""

    name: str
    sha256: str
    windows: tuple[Datum, ...]

    @property
    def tokens(self) -> int:
        """Return the number of tokens that are predicted."""
        return sum(sum(window.mask_T) for window in self.windows)


def tokenized_text(path: Path, chat: Chat) -> Text:
    """Read a text file. Raises UsageError if it cannot be read, is too short, or consists of words that the model does not know."""
    try:
        text = read_named_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text ({error}); name a file of UTF-8 text with --text") from error
    if not isinstance(chat, ReadingChat):
        raise UsageError("this engine's tokenizer reads no plain text, so perplexity cannot be measured; leave --text out")
    tokens_T = chat.read(text)[:MOST]
    if len(tokens_T) < 2:
        raise UsageError(f"{path} holds {len(tokens_T)} tokens, and 2 are needed; name a longer --text")
    strange = sum(token == chat.unknown for token in tokens_T)
    if 2 * strange > len(tokens_T):
        raise UsageError(f"{path}: the model's tokenizer does not know {strange:,} of {len(tokens_T):,} tokens; name another --text")
    return Text(path.name, hashlib.sha256(text.encode()).hexdigest(), tuple(_windows(tokens_T)))


def _windows(tokens_T: Sequence[int]) -> list[Datum]:
    """Cut into windows that overlap by one token, so that every token but the first is predicted once."""
    pieces = [tuple(tokens_T[start : start + WINDOW]) for start in range(0, len(tokens_T) - 1, WINDOW - 1)]
    return [Datum(piece, (False, *[True] * (len(piece) - 1)), (0.0,) * len(piece), 0.0, 1.0) for piece in pieces]


async def perplexity(engine: ScoringEngine, ledger: Ledger, text: Text, *, reference: bool) -> float:
    """Return exp of the mean negative log-probability of a token, under current or base weights."""
    logprobs = await metered_score(engine, ledger, text.windows, reference=reference)
    return math.exp(-sum(map(sum, logprobs)) / text.tokens)
