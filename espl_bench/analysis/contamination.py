"""Find principles that quote items: an editor may copy a problem, or its answer, instead of learning from it.

A principle quotes an item if it contains eight consecutive words of the question, or the whole of a shorter question of at least four
words. Sequences shared by more than ten items ("where m and n are relatively prime positive integers") are stock phrases, not
quotations.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from espl_bench.data.item_text import words
from espl_bench.data.overlap import STOCK
from espl_bench.environment.text_env import TextEnv
from espl_bench.types import Problem, Split

LONGEST: Final = 8
"""Number of consecutive words that make a quotation."""
SHORTEST: Final = 4
"""Smallest number of words of a question that can be recognised."""

Run = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """Quotation of an item by a principle."""

    principle: int
    """Index in the prompt: 0 for G0."""
    split: Split
    problem_id: str
    words: str
    """First quoted words that were found."""


class ContaminationIndex:
    """Index of an environment's items by their sequences of words."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Index every question."""
        self._items: dict[Run, list[Problem]] = {}
        for problem in problems:
            for run in set(_runs(_words(problem.question))):
                self._items.setdefault(run, []).append(problem)
        frequency = Counter({run: len({problem.question for problem in items}) for run, items in self._items.items()})
        self._items = {run: items for run, items in self._items.items() if frequency[run] <= STOCK}
        self._lengths = sorted({len(run) for run in self._items}, reverse=True)

    @classmethod
    def of(cls, env: TextEnv) -> "ContaminationIndex":
        """Index every split of an environment."""
        return cls(env.problem(split, index) for split in env.splits for index in range(env.size(split)))

    def in_prompt(self, principles: Sequence[str]) -> list[Quote]:
        """Find each quoting pair of principle and item once, in order of principles."""
        return [quote for index, principle in enumerate(principles) for quote in self._in(index, _words(principle))]

    def _in(self, index: int, said: Sequence[str]) -> Iterator[Quote]:
        seen: set[str] = set()
        for length in self._lengths:
            for start in range(len(said) - length + 1):
                run = tuple(said[start : start + length])
                for problem in self._items.get(run, ()):
                    if problem.id not in seen:
                        seen.add(problem.id)
                        yield Quote(index, problem.split, problem.id, " ".join(run))


def _words(text: str) -> list[str]:
    """Split into words, ignoring case."""
    return words(text.casefold())


def _runs(said: Sequence[str]) -> Iterator[Run]:
    """Yield the sequences that count as a quotation: all of a short question, every eight words of a longer one."""
    length = min(len(said), LONGEST)
    if length >= SHORTEST:
        yield from (tuple(said[start : start + length]) for start in range(len(said) - length + 1))


def short_form(quotes: Sequence[Quote]) -> tuple[str, ...]:
    """Format as ``G3 quotes test/17``, for a summary."""
    return tuple(f"G{quote.principle} quotes {quote.problem_id}" for quote in quotes)
