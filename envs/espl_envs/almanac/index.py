"""The almanac's own search: an index over all entries of a world, behind the protocol of all retrievers.

A page has a heading of three words, a person, a relation and its house word, and is found by these three, in any order. A query may
also name a ``source``; then only its entry is found, else those of all sources. Unlike a ranking, the index returns nothing for a
query without the house word of its relation, which an agent has to learn. It needs no package and is built in milliseconds.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

from espl_bench.retrieval.retriever import FoundPassage, Passage, now_utc
from espl_envs.almanac.pages import hidden_almanac
from espl_envs.almanac.words import NAMES, RELATIONS, SOURCE, SOURCES

_NAMING = frozenset((SOURCE, *SOURCES))
"""Words of a query that name a source."""


class AlmanacIndex:
    """A `Retriever` over the entries of one world; a passage's title is its source, its text the claim."""

    def __init__(self, world: int) -> None:
        almanac = hidden_almanac(world)
        self._world = world
        self._pages: dict[frozenset[str], tuple[Passage, ...]] = {}
        for person, relation in product(NAMES, RELATIONS):
            heading = (person, relation, almanac.house_words[relation])
            self._pages[frozenset(heading)] = tuple(
                Passage(f"{' '.join(heading)} {entry.source}", entry.source, entry.claim, score=1.0)
                for entry in almanac.page(person, relation).entries
            )

    @property
    def identity(self) -> str:
        """Return the world, which determines all results."""
        return f"almanac({self._world})"

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[FoundPassage]:
        """Return at most `top_k` entries for each query, in the order of their page."""
        return [FoundPassage(query, self._find(frozenset(query.split()))[:top_k], now_utc()) for query in queries]

    def _find(self, words: frozenset[str]) -> tuple[Passage, ...]:
        page = self._pages.get(words - _NAMING, ())
        return tuple(passage for passage in page if words & _NAMING <= {SOURCE, passage.title})


@lru_cache(maxsize=64)
def open_index(world: int) -> AlmanacIndex:
    """Return the index of a world, shared by all episodes of a process."""
    return AlmanacIndex(world)
