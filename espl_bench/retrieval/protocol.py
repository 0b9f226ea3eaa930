"""What an environment asks of a retriever: queries go in, passages come out. Back ends differ only behind this."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from espl_bench.errors import EnvError


class RetrievalError(EnvError):
    """A retriever did not answer, or not with passages: the episode that asked ends as an error, and no other."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage found."""

    id: str
    title: str
    text: str
    score: float
    """As the back end gives it; comparable within one result only."""


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """What one query found, best first; nothing is a result too."""

    query: str
    passages: tuple[Passage, ...]
    retrieved_utc: str
    """When the back end answered, ISO 8601."""


class Retriever(Protocol):
    """A back end. Instances are shared by all episodes of a run, in many threads at once."""

    @property
    def identity(self) -> str:
        """Everything that decides what a query finds, as far as it is known: the kind, its settings, and the corpus's hash."""
        ...

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[FoundPassage]:
        """One result per query, in order, of at most `top_k` passages each. Bounded in time. Raises RetrievalError."""
        ...


def now_utc() -> str:
    """The date of a retrieval."""
    return datetime.now(UTC).isoformat(timespec="seconds")
