"""Contents of the almanac: a world's secrets, its pages, and the possible questions. Shared with the small model's pre-training.

A page is about one relation of one person, and has one entry for each source. It is a pure function of the world's seed and its
subject, so that a page can be read without writing the others.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from espl_bench.seeding import seed_for
from espl_envs.almanac.words import HOUSE_WORDS, NAMES, RELATIONS, SOURCE, SOURCES


@dataclass(frozen=True, slots=True)
class Question:
    """``who is ada 's rival 's cook ?``: a person, and the relations to follow from there, each at most once."""

    person: str
    relations: tuple[str, ...]

    @property
    def question(self) -> str:
        """Return the question as text."""
        steps = " ".join(f"'s {relation}" for relation in self.relations)
        return f"who is {self.person} {steps} ?"

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the relations: to ask about each takes its house word."""
        return self.relations


@dataclass(frozen=True, slots=True)
class Entry:
    """One source's claim on a page."""

    source: str
    claim: str
    """A name."""


@dataclass(frozen=True, slots=True)
class Page:
    """The sources' claims about one relation of one person, ``ada rival amber``, in the page's own order."""

    person: str
    relation: str
    house_word: str
    entries: tuple[Entry, ...]

    def told_by(self, source: str) -> Entry:
        """Return one source's entry."""
        return next(entry for entry in self.entries if entry.source == source)


def as_reply(entries: Sequence[Entry]) -> str:
    """Format a search reply: ``ledger ben .``, or ``ledger ben ; rumour cora ; mural ben ; ballad dov .`` without a source in the query."""
    claims = " ; ".join(f"{entry.source} {entry.claim}" for entry in entries)
    return f"{claims} ." if entries else "nothing ."


@dataclass(frozen=True, slots=True)
class Almanac:
    """One world."""

    seed: int
    """Seed of the pages."""
    house_words: Mapping[str, str]
    """Relation → the word that queries must use for it."""
    reliable: str
    """The source that tells the truth; the claims of the others are random, and true in one case of 31."""

    @property
    def secrets(self) -> dict[str, str]:
        """Return everything that a principle can state: topic → choice."""
        return {SOURCE: self.reliable, **self.house_words}

    def truth(self, person: str, relation: str) -> str:
        """Return the true person."""
        return self._facts(person, relation).choice(_others(person))

    def page(self, person: str, relation: str) -> Page:
        """Return the page about one relation of one person."""
        rng = self._facts(person, relation)
        truth = rng.choice(_others(person))
        claims = {source: truth if source == self.reliable else rng.choice(_others(person)) for source in SOURCES}
        entries = tuple(Entry(source, claims[source]) for source in rng.sample(SOURCES, len(SOURCES)))
        return Page(person, relation, self.house_words[relation], entries)

    def look_up(self, person: str, relation: str, house_word: str) -> Page | None:
        """Return the page if the query uses this world's house word; else None."""
        return self.page(person, relation) if self.house_words.get(relation) == house_word else None

    def follow(self, question: Question) -> Iterator[str]:
        """Yield the persons on the way from the question's person to the answer, without the first."""
        person = question.person
        for relation in question.relations:
            person = self.truth(person, relation)
            yield person

    def answer(self, question: Question) -> str:
        """Return the person the question asks for."""
        *_, last = self.follow(question)
        return last

    def _facts(self, person: str, relation: str) -> random.Random:
        return random.Random(seed_for(self.seed, "almanac", "page", person, relation))


@cache
def hidden_almanac(world: int) -> Almanac:
    """Return the almanac of a world. Only the environment knows its secrets."""
    rng = random.Random(seed_for(world, "almanac", "world"))
    house_words = {relation: rng.choice(HOUSE_WORDS) for relation in RELATIONS}
    return Almanac(world, house_words, rng.choice(SOURCES))


def _others(person: str) -> list[str]:
    return [name for name in NAMES if name != person]
