"""Principles that quote items: an editor may copy a problem, or its answer, instead of learning from it.

A principle quotes an item if it holds eight words of the question in a row, or the whole of a shorter one, four words at least. Runs of
words that more than ten items share ("where m and n are relatively prime positive integers") are stock phrases and no quotation.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from espl_bench.data.overlap import STOCK
from espl_bench.data.text import words
from espl_bench.environment.text_env import TextEnv
from espl_bench.types import Problem, Split

LONGEST: Final = 8
"""Words in a row that are a quotation."""
SHORTEST: Final = 4
"""Words of a question that is too short to be recognised."""

Run = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quote:
    """One principle and one item that it quotes."""

    principle: int
    """Its place in the prompt: 0 for G0."""
    split: Split
    problem_id: str
    words: str
    """The first that were found."""


class ContaminationIndex:
    """All items of an environment, by the runs of words in them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Reads every question once."""
        self._items: dict[Run, list[Problem]] = {}
        for problem in problems:
            for run in set(_runs(_words(problem.question))):
                self._items.setdefault(run, []).append(problem)
        frequency = Counter({run: len({problem.question for problem in found}) for run, found in self._items.items()})
        self._items = {run: found for run, found in self._items.items() if frequency[run] <= STOCK}
        self._lengths = sorted({len(run) for run in self._items}, reverse=True)

    @classmethod
    def of(cls, env: TextEnv) -> "ContaminationIndex":
        """Of every split of an environment."""
        return cls(env.problem(split, index) for split in env.splits for index in range(env.size(split)))

    def in_prompt(self, principles: Sequence[str]) -> list[Quote]:
        """Each pair of principle and item once, in order of principles."""
        return [quote for place, principle in enumerate(principles) for quote in self._in(place, _words(principle))]

    def _in(self, place: int, said: Sequence[str]) -> Iterator[Quote]:
        seen: set[str] = set()
        for length in self._lengths:
            for start in range(len(said) - length + 1):
                run = tuple(said[start : start + length])
                for problem in self._items.get(run, ()):
                    if problem.id not in seen:
                        seen.add(problem.id)
                        yield Quote(place, problem.split, problem.id, " ".join(run))


def _words(text: str) -> list[str]:
    """Whatever the case: an editor may shout."""
    return words(text.casefold())


def _runs(said: Sequence[str]) -> Iterator[Run]:
    """What of a question is a quotation: all of a short one, every eight words of a longer one."""
    length = min(len(said), LONGEST)
    if length >= SHORTEST:
        yield from (tuple(said[start : start + length]) for start in range(len(said) - length + 1))


def short_form(found: Sequence[Quote]) -> tuple[str, ...]:
    """``G3 quotes test/17``, for a summary."""
    return tuple(f"G{quote.principle} quotes {quote.problem_id}" for quote in found)
