"""What the almanac holds: a world's secrets, its pages, and the questions that can be asked. Shared with the small model's pre-training.

A page is about one relation of one person, and has one entry for each source. It is a pure function of the world's seed and of what it
is about, so that a page can be read without the others being written.
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
        """As text."""
        steps = " ".join(f"'s {relation}" for relation in self.relations)
        return f"who is {self.person} {steps} ?"

    @property
    def topics(self) -> tuple[str, ...]:
        """The relations: what there is to know about each is its house word."""
        return self.relations


@dataclass(frozen=True, slots=True)
class Entry:
    """What one source tells on a page."""

    source: str
    claim: str
    """A name."""


@dataclass(frozen=True, slots=True)
class Page:
    """``ada rival amber``: what the sources tell of one relation of one person, in an order of the page's own."""

    person: str
    relation: str
    house_word: str
    entries: tuple[Entry, ...]

    def told_by(self, source: str) -> Entry:
        """What one source tells."""
        return next(entry for entry in self.entries if entry.source == source)


def as_reply(entries: Sequence[Entry]) -> str:
    """As a search replies it: ``ledger ben .``, or ``ledger ben ; rumour cora ; mural ben ; ballad dov .`` if it named no source."""
    told = " ; ".join(f"{entry.source} {entry.claim}" for entry in entries)
    return f"{told} ." if entries else "nothing ."


@dataclass(frozen=True, slots=True)
class Almanac:
    """One world."""

    seed: int
    """Of the pages."""
    house_words: Mapping[str, str]
    """Relation → the word that queries must call it by."""
    reliable: str
    """The source that tells the truth; what the others tell is drawn at random, and true in one case of 31."""

    @property
    def secrets(self) -> dict[str, str]:
        """Everything that can be stated by a principle: topic → choice."""
        return {SOURCE: self.reliable, **self.house_words}

    def truth(self, person: str, relation: str) -> str:
        """Who it really is."""
        return self._facts(person, relation).choice(_others(person))

    def page(self, person: str, relation: str) -> Page:
        """The page about one relation of one person."""
        rng = self._facts(person, relation)
        truth = rng.choice(_others(person))
        told = {source: truth if source == self.reliable else rng.choice(_others(person)) for source in SOURCES}
        entries = tuple(Entry(source, told[source]) for source in rng.sample(SOURCES, len(SOURCES)))
        return Page(person, relation, self.house_words[relation], entries)

    def look_up(self, person: str, relation: str, house_word: str) -> Page | None:
        """The page, if it is asked for as this world wants it."""
        return self.page(person, relation) if self.house_words.get(relation) == house_word else None

    def follow(self, question: Question) -> Iterator[str]:
        """The persons on the way from the one asked about to the answer, the first left out."""
        person = question.person
        for relation in question.relations:
            person = self.truth(person, relation)
            yield person

    def answer(self, question: Question) -> str:
        """Who it is that is asked for."""
        *_, last = self.follow(question)
        return last

    def _facts(self, person: str, relation: str) -> random.Random:
        return random.Random(seed_for(self.seed, "almanac", "page", person, relation))


@cache
def hidden_almanac(world: int) -> Almanac:
    """The almanac of a world. Its secrets are known to the environment alone."""
    rng = random.Random(seed_for(world, "almanac", "world"))
    house_words = {relation: rng.choice(HOUSE_WORDS) for relation in RELATIONS}
    return Almanac(world, house_words, rng.choice(SOURCES))


def _others(person: str) -> list[str]:
    return [name for name in NAMES if name != person]
