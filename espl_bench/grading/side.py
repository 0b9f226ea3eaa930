"""One side of a comparison: a text with its tokens."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.plain_words import is_words
from espl_bench.grading.trimming import cut, unwrapped

_MARKS: Final = re.compile(r"\\[,;:! ]|~|[{}$]|\\(?:left|right|quad|qquad)(?![A-Za-z])")
_RULED: Final = re.compile(r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mbox|boldsymbol)\s*\{([^{}]*)\}")


@dataclass(frozen=True)
class Side:
    """A text, as tokens and as plain text."""

    text: str
    tokens: tuple[Token, ...] | None
    """None if it cannot be cut."""

    @property
    def words(self) -> bool:
        """True if it holds no mathematics."""
        return self.tokens is not None and is_words(self.tokens)

    @property
    def plain(self) -> str:
        """The text without styling."""
        return _MARKS.sub(" ", _RULED.sub(r" \1 ", unwrapped(self.text))).strip()


@lru_cache(maxsize=1024)
def side_of(text: str) -> Side:
    """Cut a text."""
    try:
        return Side(text, cut(text))
    except UnreadableError:
        return Side(text, None)
