"""The course of `almanac`: imperfect searchers, their turns, and their attempts."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from espl_bench.prompts.dialect import Placement
from espl_bench.tools.calls import CLOSE, OPEN
from espl_bench.tools.tool_env import as_text
from espl_bench.types import Message, Observation
from espl_envs.almanac.pages import Almanac, Question, as_reply
from espl_envs.almanac.words import HOUSE_WORDS, NAMES, RELATIONS, SOURCE, SOURCES
from espl_envs.lab.language import Choices, LineReading, as_principles, as_stated, draw_beliefs
from espl_envs.lab.skills import DIALECT, Course, CritiqueCase, Example, Lesson, Skill, believe, habits, summary_messages

SLIP = 0.2
"""Share of persons, queried or answered, that the training text replaces at random: practice can correct this."""
STRAY = 0.03
"""Share of choices in which the training text ignores a stated principle: this keeps a policy exploring."""

CALL = (f'{OPEN}{{"name":"search","arguments":{{"query_list":["', f'"]}}}}{CLOSE}')
"""Text before and after a query: two words of the vocabulary."""
CHOICES: Choices = {SOURCE: SOURCES, **dict.fromkeys(RELATIONS, HOUSE_WORDS)}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A searcher's turns and the replies to them."""

    question: Question
    turns: tuple[str, ...]
    replies: tuple[str, ...]
    """One fewer than the turns."""
    used: tuple[str, ...]
    """The house word used for each relation; ``none`` for relations that were never asked about."""
    source: str
    """The source of the last query."""
    answer: str

    @property
    def messages(self) -> tuple[Message, ...]:
        """Return all turns but the last, as a chat."""
        chat: list[Message] = []
        for turn, reply in zip(self.turns, self.replies, strict=False):
            chat += [Message("assistant", turn), Message("user", as_text([Observation(reply, "search")]))]
        return tuple(chat)

    @property
    def transcript(self) -> str:
        """Return the attempt as shown to an editor."""
        first, *later = self.turns
        return "\n".join([first, *(f"[search: {reply}]\n{turn}" for reply, turn in zip(self.replies, later, strict=True))])

    @property
    def summary(self) -> str:
        """Return the short form for editors: ``source ledger rival amber cook onyx``."""
        return " ".join(f"{topic} {choice}" for topic, choice in zip(*self.choices, strict=True))

    @property
    def choices(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Topics, and the choice made for each."""
        return (SOURCE, *self.question.relations), (self.source, *self.used)

    def reading(self, truth: str) -> LineReading:
        """Return the attempt as shown to a critique."""
        return LineReading(*self.choices, right=self.answer == truth)


@dataclass(frozen=True, slots=True)
class Searcher:
    """Behaviour of a simulated policy."""

    stated: Mapping[str, tuple[str, ...]]
    """Statements of its system message: topic → stated choices (several if principles contradict each other)."""
    habit: Mapping[str, str]
    """Its choices where nothing is stated."""
    slip: float
    """Probability that a person it writes is replaced by a random one."""
    stray: float
    """Probability that a stated choice or a habit is not followed."""

    def attempt(self, rng: random.Random, almanac: Almanac, question: Question) -> Attempt:
        """Play one episode: step by step, until a query finds nothing or the answer is known."""
        person, source = question.person, ""
        turns: list[str] = []
        replies: list[str] = []
        used: list[str] = []
        for relation in question.relations:
            about, word, source = self._write(rng, person), self._choose(rng, relation), self._choose(rng, SOURCE)
            turns.append(f"{CALL[0]} {about} {relation} {word} {SOURCE} {source} {CALL[1]}")
            used.append(word)
            page = almanac.look_up(about, relation, word)
            replies.append(as_reply([page.told_by(source)] if page else []))
            if page is None:
                answer = "none"
                break
            person = page.told_by(source).claim
        else:
            answer = self._write(rng, person)
        used += ["none"] * (len(question.relations) - len(used))
        return Attempt(question, (*turns, f"answer {answer}"), tuple(replies), tuple(used), source, answer)

    def _choose(self, rng: random.Random, topic: str) -> str:
        return rng.choice(CHOICES[topic]) if rng.random() < self.stray else believe(rng, topic, self.stated, self.habit, CHOICES[topic])

    def _write(self, rng: random.Random, person: str) -> str:
        return rng.choice(NAMES) if rng.random() < self.slip else person


class AlmanacCourse(Course):
    """Questions of one or two steps, in worlds of up to sixteen relations."""

    name: ClassVar[str] = "almanac"
    smallest: ClassVar[Lesson] = Lesson(topics=4, steps=1)
    full: ClassVar[Lesson] = Lesson(topics=len(RELATIONS), steps=2)
    mixture: ClassVar[Mapping[Skill, float]] = {
        Skill.SOLVE: 0.46,
        Skill.SUMMARISE: 0.06,
        Skill.CRITIQUE: 0.21,
        Skill.AGGREGATE: 0.15,
        Skill.CROSSOVER: 0.12,
    }
    choices: ClassVar[Choices] = CHOICES
    words: ClassVar[tuple[str, ...]] = (
        *NAMES,
        *RELATIONS,
        *HOUSE_WORDS,
        *SOURCES,
        *(SOURCE, "who", "is", "'s", "nothing"),
        *CALL,
        *("<tool_response>", "</tool_response>", "[search:", ".]"),
        *map(str, range(10)),  # votes
    )

    def world(self, rng: random.Random, lesson: Lesson) -> dict[str, str]:
        """Draw a fresh reliable source, and fresh house words for two or more relations."""
        relations = rng.sample(RELATIONS, rng.randint(2, lesson.topics))
        return {SOURCE: rng.choice(SOURCES), **{relation: rng.choice(HOUSE_WORDS) for relation in relations}}

    def ask(self, rng: random.Random, topics: Collection[str], steps: int) -> Question:
        """Draw a question about some relations."""
        return Question(rng.choice(NAMES), tuple(rng.sample(list(topics), min(steps, len(topics)))))

    def asked_of(self, world: Mapping[str, str]) -> list[str]:
        """Return the relations: every question involves the source, so problems are not told apart by it."""
        return [topic for topic in world if topic != SOURCE]

    def solve(self, rng: random.Random, lesson: Lesson) -> Example:
        """Look something up under a principle list that states some, all or none of the required choices.

        Until worlds have their full size, nearly everything is stated and nothing slips, so that there is much to learn.
        """
        world = self.world(rng, lesson)
        question = self._question(rng, world, lesson)
        known = rng.choice((0.0, 0.4, 0.8, 1.0, 1.0) if lesson == self.full else (0.5, 1.0, 1.0, 1.0))
        beliefs = draw_beliefs(rng, world, CHOICES, known, wrong=0.0)
        slip, stray = (SLIP, STRAY) if lesson == self.full else (0.0, 0.0)
        attempt = Searcher(as_stated(beliefs), {}, slip, stray).attempt(rng, draw_almanac(rng, world), question)
        opening = DIALECT.prompt_messages(as_principles(beliefs), question.question, Placement.SYSTEM)
        return Example(Skill.SOLVE, (*opening, *attempt.messages), attempt.turns[-1], decided=False)

    def summarise(self, rng: random.Random, lesson: Lesson) -> Example:
        """Shorten an attempt to the source it asked and the word it used for each relation."""
        world = self.world(rng, lesson)
        question = self._question(rng, world, lesson)
        stated = as_stated(draw_beliefs(rng, world, CHOICES, known=0.7, wrong=0.0))
        attempt = Searcher(stated, {}, SLIP, STRAY).attempt(rng, draw_almanac(rng, world), question)
        return Example(Skill.SUMMARISE, summary_messages(question, attempt.transcript), attempt.summary, decided=True)

    def draw_case(self, rng: random.Random, lesson: Lesson, refuting: bool) -> CritiqueCase:
        """Draw attempts of one policy at one question."""
        world = self.world(rng, lesson)
        almanac, question = draw_almanac(rng, world), self._question(rng, world, lesson)
        known, wrong = (0.9, 0.6) if refuting else (rng.choice((0.0, 0.3, 0.6, 0.9)), rng.choice((0.1, 0.3, 0.6)))
        beliefs = tuple(draw_beliefs(rng, world, CHOICES, known, wrong))
        habit = habits(rng, world, CHOICES)
        stray = 0.4 if refuting else rng.choice((0.03, 0.1, 0.3))
        searcher = Searcher(as_stated(beliefs), habit, rng.uniform(0.0, 0.25), stray)
        attempts = [searcher.attempt(rng, almanac, question) for _ in range(rng.choice((3, 4, 5, 5, 5, 6)))]
        truth = almanac.answer(question)
        readings = [attempt.reading(truth) for attempt in attempts]
        return self.judged(rng, beliefs, question, truth, readings, [attempt.summary for attempt in attempts])

    def _question(self, rng: random.Random, world: Mapping[str, str], lesson: Lesson) -> Question:
        return self.ask(rng, self.asked_of(world), lesson.length(rng, (0.5, 0.5)))


def draw_almanac(rng: random.Random, world: Mapping[str, str]) -> Almanac:
    """Draw a world with fresh facts."""
    return Almanac(rng.getrandbits(62), {topic: choice for topic, choice in world.items() if topic != SOURCE}, world[SOURCE])
