"""The almanac's own search: an index over all pages of a world, behind the protocol that every retriever has.

A page is found by a query all of whose words it holds, in any order. Unlike a ranking, this says nothing to a query that calls a
relation by another word than the house's, which is what there is to learn. It needs no package and is built in milliseconds.
"""

from collections.abc import Sequence
from functools import lru_cache

from espl_bench.retrieval.protocol import Found, Passage, now_utc
from espl_envs.almanac.pages import Page, hidden_almanac
from espl_envs.almanac.words import NAMES, RELATIONS


class AlmanacIndex:
    """A `Retriever` over the pages of one world."""

    def __init__(self, world: int) -> None:
        """Write every page, and note which words it is found by."""
        almanac = hidden_almanac(world)
        self._world = world
        self._pages: list[Page] = [almanac.page(person, relation) for person in NAMES for relation in RELATIONS]
        self._holding: dict[str, set[int]] = {}
        for number, page in enumerate(self._pages):
            for word in (page.person, page.relation, page.house_word):
                self._holding.setdefault(word, set()).add(number)

    @property
    def identity(self) -> str:
        """The world decides everything."""
        return f"almanac({self._world})"

    def retrieve(self, queries: Sequence[str], top_k: int) -> list[Found]:
        """The first `top_k` pages that hold every word of a query, for each query."""
        return [self._find(query, top_k) for query in queries]

    def _find(self, query: str, top_k: int) -> Found:
        words = query.split()
        numbers = sorted(set.intersection(*(self._holding.get(word, set()) for word in words)))[:top_k] if words else []
        passages = [self._passage(number) for number in numbers]
        return Found(query, tuple(passages), now_utc())

    def _passage(self, number: int) -> Passage:
        page = self._pages[number]
        return Passage(str(number), f"{page.person} {page.relation} {page.house_word}", page.text, score=1.0)


@lru_cache(maxsize=64)
def open_index(world: int) -> AlmanacIndex:
    """Shared by all episodes of a process."""
    return AlmanacIndex(world)
