"""Cursor over the tokens of a formula, with what the readers of its parts ask of one another."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from espl_bench.grading.conventions import Conventions
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.token_runs import matching

_MAX_DEPTH: Final = 60


class FormulaCursor(ABC):
    """Tokens, and the place that is read next. What is read moves the place behind it."""

    def __init__(self, tokens: Sequence[Token], by: Conventions, bound: frozenset[str] = frozenset(), depth: int = 0) -> None:
        if depth > _MAX_DEPTH:
            raise UnreadableError("it is nested too deeply")
        self.tokens = list(tokens)
        self.at = 0
        self.by = by
        self.bound = bound
        """Letters that a sum or product around this formula binds."""
        self.depth = depth
        self.bars = 0
        """Absolute values that are open."""

    @abstractmethod
    def sub(self, tokens: Sequence[Token], bound: frozenset[str] = frozenset()) -> Any:
        """Read other tokens as one formula."""

    @abstractmethod
    def sum(self) -> Any:
        """Read terms."""

    @abstractmethod
    def factor(self) -> Any:
        """Read one factor, with its exponent."""

    @abstractmethod
    def argument(self) -> Any:
        """Read an exponent or the argument of a root: a group, a bracket, or one token."""

    @abstractmethod
    def primary(self, single: bool = False) -> Any:
        """Read one number, name, bracket or command; `single`: without an index or argument that only may belong to it."""

    @abstractmethod
    def continues(self) -> bool:
        """Return True if another factor stands here."""

    @property
    def now(self) -> Token:
        """The next token."""
        return self.tokens[self.at] if self.at < len(self.tokens) else Token("end", "")

    def at_op(self, *texts: str) -> bool:
        """Return whether one of these operators comes next."""
        return self.now.kind == "op" and self.now.text in texts

    def take(self, kind: str, text: str) -> bool:
        """Take a token if it comes next, and return whether it did."""
        if self.now.kind == kind and self.now.text == text:
            self.at += 1
            return True
        return False

    def group(self) -> list[Token]:
        """Take a bracket with its content, and return the content."""
        end = matching(self.tokens, self.at)
        content = self.tokens[self.at + 1 : end]
        self.at = end + 1
        return content

    def finish(self) -> None:
        """Raise UnreadableError if anything is left."""
        if self.at < len(self.tokens):
            raise UnreadableError(f"'{self.now.text}'")
