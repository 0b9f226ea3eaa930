"""The retriever interface of environments: queries go in, passages come out. Back ends implement it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from espl_bench.errors import EnvError


class RetrievalError(EnvError):
    """A retriever did not answer, or its answer was malformed: the episode that asked ends as an error, and no other."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrieved passage."""

    id: str
    title: str
    text: str
    score: float
    """The back end's score; comparable within one result only."""


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """Passages of one query, best first; possibly none."""

    query: str
    passages: tuple[Passage, ...]
    retrieved_utc: str
    """Time of the back end's answer, ISO 8601."""


class Retriever(Protocol):
    """A back end. Instances are shared by all episodes of a run, in many threads at once."""

    @property
    def identity(self) -> str:
        """Return everything known that determines results: the kind, its settings, and the corpus's hash."""
        ...

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[FoundPassage]:
        """Return one result per query, in order, of at most `top_k` passages each. Bounded in time. Raises RetrievalError."""
        ...


def now_utc() -> str:
    """Return the current time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
