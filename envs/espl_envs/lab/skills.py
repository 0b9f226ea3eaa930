"""The five skills of a lab model as endless streams of examples: solve, summarise, critique, aggregate, crossover.

A `Course` teaches one world: it solves and summarises in its own way, and draws the material of critiques and crossovers; the
editors' part is the same for all. An example's prompt is rendered by the same templates that the harness's operators use (dialect
`compact`), so in a run the model sees what it learned to read in pre-training.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from espl_bench.evolution.operators.editor import (
    LABELS,
    AttemptView,
    ParentView,
    Proposal,
    aggregate_context,
    critique_context,
    crossover_context,
    summary_context,
)
from espl_bench.evolution.operators.edits import Modify
from espl_bench.prompts.dialect import Dialect, TemplateName
from espl_bench.types import Message, Problem, Split
from espl_envs.lab.language import (
    Asked,
    Belief,
    Champion,
    Choices,
    Finding,
    LineReading,
    as_principles,
    draw_beliefs,
    judge_attempts,
    judge_parents,
    principle,
    settle,
)

DIALECT = Dialect.load("compact")


class Skill(StrEnum):
    """A skill of a lab model."""

    SOLVE = "solve"
    SUMMARISE = "summarise"
    CRITIQUE = "critique"
    AGGREGATE = "aggregate"
    CROSSOVER = "crossover"


@dataclass(frozen=True, slots=True)
class Lesson:
    """Difficulty of examples."""

    topics: int
    """Topics of the largest world; every example draws a size up to this."""
    steps: int
    """Length of the longest problem."""

    def length(self, rng: random.Random, shares: Sequence[float]) -> int:
        """Draw a length of one step, two, …, each with its share; cut to the lesson's limit."""
        return min(self.steps, rng.choices(range(1, len(shares) + 1), shares)[0])

    def grown(self, larger: "Lesson", share: float) -> "Lesson":
        """Interpolate between this lesson (0) and a larger one (1)."""
        return Lesson(
            topics=self.topics + round(share * (larger.topics - self.topics)),
            steps=self.steps + round(share * (larger.steps - self.steps)),
        )


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: the conversation shown and the text to be written."""

    skill: Skill
    messages: tuple[Message, ...]
    """The conversation so far. Its assistant turns are to be written, too."""
    target: str
    """The last turn to be written."""
    decided: bool
    """True if the target is the only right one."""


@dataclass(frozen=True, slots=True)
class CritiqueCase:
    """Evidence for a critique, kept apart from its wording so that it can be measured."""

    beliefs: tuple[Belief, ...]
    asked: Asked
    truth: str
    readings: tuple[LineReading, ...]
    summaries: tuple[str, ...]
    """Parallel to the readings."""
    finding: Finding

    @property
    def right(self) -> int:
        """Number of attempts with the true answer."""
        return sum(reading.right for reading in self.readings)


class Course(ABC):
    """The course of a lab model: a world to act in, and how to edit its principles."""

    name: ClassVar[str]
    """Name of the environment."""
    smallest: ClassVar[Lesson]
    """The lesson at the start of pre-training."""
    full: ClassVar[Lesson]
    """The lesson it grows to."""
    mixture: ClassVar[Mapping[Skill, float]]
    """Share of each skill among the examples."""
    choices: ClassVar[Choices]
    """Every topic, and its possible choices."""
    words: ClassVar[tuple[str, ...]]
    """Words of this course alone, each once."""

    @abstractmethod
    def world(self, rng: random.Random, lesson: Lesson) -> dict[str, str]:
        """Draw fresh truths for two or more topics."""

    @abstractmethod
    def ask(self, rng: random.Random, topics: Collection[str], steps: int) -> Asked:
        """Draw a random problem of this many steps about some of the topics, or of as many as they allow."""

    @abstractmethod
    def solve(self, rng: random.Random, lesson: Lesson) -> Example:
        """Work out a problem under a principle list that states some, all or none of the required choices."""

    @abstractmethod
    def summarise(self, rng: random.Random, lesson: Lesson) -> Example:
        """Shorten an attempt to its topics and the choice made for each."""

    @abstractmethod
    def draw_case(self, rng: random.Random, lesson: Lesson, refuting: bool) -> CritiqueCase:
        """Draw attempts of one policy at one problem; if `refuting`, of one that knows much, is often wrong and often strays."""

    def draw(self, rng: random.Random, lesson: Lesson) -> Example:
        """Draw one example of the mixture."""
        return self.example(rng.choices(list(self.mixture), list(self.mixture.values()))[0], rng, lesson)

    def example(self, skill: Skill, rng: random.Random, lesson: Lesson) -> Example:
        """Draw one example of a skill."""
        match skill:
            case Skill.SOLVE:
                return self.solve(rng, lesson)
            case Skill.SUMMARISE:
                return self.summarise(rng, lesson)
            case Skill.CRITIQUE:
                return self.critique(rng, lesson)
            case Skill.AGGREGATE:
                return self.aggregate(rng, lesson)
            case Skill.CROSSOVER:
                return self.crossover(rng, lesson)

    def draw_critique(self, rng: random.Random, lesson: Lesson) -> CritiqueCase:
        """Draw a problem with contrast: attempts of one policy under one principle list, at least one right and one wrong.

        Evidence against a stated principle is rare by chance, so every third case is drawn until it holds some.
        """
        refuting = rng.random() < 0.35
        while True:
            case = self.draw_case(rng, lesson, refuting)
            refuted = any(isinstance(edit, Modify) for edit in case.finding.edits)
            if 0 < case.right < len(case.readings) and (refuted or not refuting):
                return case

    def judged(
        self,
        rng: random.Random,
        beliefs: tuple[Belief, ...],
        asked: Asked,
        truth: str,
        readings: Sequence[LineReading],
        summaries: Sequence[str],
    ) -> CritiqueCase:
        """Make a case with its finding."""
        return CritiqueCase(beliefs, asked, truth, tuple(readings), tuple(summaries), judge_attempts(rng, beliefs, readings))

    def critique(self, rng: random.Random, lesson: Lesson) -> Example:
        """Write the edits that labelled attempts at one problem support."""
        case = self.draw_critique(rng, lesson)
        principles = as_principles(case.beliefs)
        views = [AttemptView(reading.right, summary) for reading, summary in zip(case.readings, case.summaries, strict=True)]
        context = critique_context(principles, _problem(case.asked, case.truth), views)
        messages = DIALECT.reflection_messages(TemplateName.CRITIQUE, context)
        return Example(Skill.CRITIQUE, messages, case.finding.text(principles), case.finding.decided)

    def aggregate(self, rng: random.Random, lesson: Lesson) -> Example:
        """Turn many problems' proposals into one consistent list: keep the proposal with the most votes for each topic."""
        world = self.world(rng, lesson)
        beliefs = list(dict(draw_beliefs(rng, world, self.choices, known=rng.choice((0.0, 0.3, 0.6, 0.9)), wrong=0.3)).items())
        stated = dict(beliefs)
        votes = {
            (topic, choice): count
            for topic in rng.sample(list(world), rng.randint(1, min(6, len(world))))
            for choice, count in _draw_votes(rng, self.choices[topic], world[topic], stated.get(topic))
        }
        asked = sorted(votes, key=lambda belief: (-votes[belief], rng.random()))
        added = [belief for belief in asked if belief[0] not in stated]
        changes = [belief for belief in asked if belief[0] in stated]
        index_of = {topic: index for index, topic in enumerate(stated)}
        context = aggregate_context(
            as_principles(beliefs),
            [Proposal(index, principle(*belief), votes[belief]) for index, belief in enumerate(added, start=len(beliefs))],
            [Proposal(index_of[belief[0]], principle(*belief), votes[belief]) for belief in changes],
        )
        messages = DIALECT.reflection_messages(TemplateName.AGGREGATE, context)
        finding = settle(beliefs, added, changes)
        return Example(Skill.AGGREGATE, messages, finding.text(as_principles([*beliefs, *added])), finding.decided)

    def crossover(self, rng: random.Random, lesson: Lesson) -> Example:
        """Edit set A by what the other sets did better. In most cases there is something to edit."""
        eventful = rng.random() < 0.6
        while True:
            champions = self._draw_champions(rng, lesson)
            finding = judge_parents(champions[0], champions[1:])
            if finding.edits or not eventful:
                break
        views = [ParentView(c.label, as_principles(c.beliefs), tuple(problem.question for problem in c.won)) for c in champions]
        messages = DIALECT.reflection_messages(TemplateName.CROSSOVER, crossover_context(views))
        return Example(Skill.CROSSOVER, messages, finding.text(views[0].principles), finding.decided)

    def asked_of(self, world: Mapping[str, str]) -> list[str]:
        """Return the topics of a world that a problem can be about."""
        return list(world)

    def _draw_champions(self, rng: random.Random, lesson: Lesson) -> list[Champion]:
        """Draw a principle list and one or two relatives, with problems that each won, mostly about topics that no other won with."""
        world = self.world(rng, lesson)
        shared = draw_beliefs(rng, world, self.choices, known=rng.choice((0.3, 0.6, 0.9)), wrong=0.3)
        topics = self.asked_of(world)
        fresh = rng.sample(topics, len(topics))
        champions: list[Champion] = []
        for label in LABELS[: rng.choice((2, 2, 3))]:
            beliefs = tuple(self._vary(rng, shared, world) if champions else shared)
            won = tuple(self._draw_win(rng, lesson, topics, fresh) for _ in range(rng.choice((1, 1, 2, 3))))
            champions.append(Champion(label, beliefs, won))
        return champions

    def _draw_win(self, rng: random.Random, lesson: Lesson, topics: Sequence[str], fresh: list[str]) -> Asked:
        """Draw a problem of one or two steps, mostly about topics that are still fresh, and remove its topics from `fresh`."""
        known = topics if rng.random() < 0.2 or len(fresh) < 2 else fresh
        asked = self.ask(rng, known, lesson.length(rng, (0.5, 0.5)))
        fresh[:] = [topic for topic in fresh if topic not in asked.topics]
        return asked

    def _vary(self, rng: random.Random, shared: Sequence[Belief], world: Mapping[str, str]) -> list[Belief]:
        """Draw a relative of a principle list: some principles dropped, changed or added, mostly in the same order."""
        varied = [
            (topic, rng.choice((world[topic], rng.choice(self.choices[topic]))) if rng.random() < 0.3 else choice)
            for topic, choice in shared
            if rng.random() < 0.85
        ]
        known = {topic for topic, _ in varied}
        return list(dict.fromkeys(varied)) + [(topic, world[topic]) for topic in world if topic not in known and rng.random() < 0.3]


def summary_messages(asked: Asked, attempt: str) -> tuple[Message, ...]:
    """Build the messages that ask an editor to shorten an attempt."""
    return DIALECT.reflection_messages(TemplateName.SUMMARY, summary_context(_problem(asked, ""), attempt))


def habits(rng: random.Random, world: Mapping[str, str], choices: Choices) -> dict[str, str]:
    """Draw the habits of a policy that practised, for about half of the topics; mostly the truth."""
    return {topic: rng.choice((choice, choice, rng.choice(choices[topic]))) for topic, choice in world.items() if rng.random() < 0.5}


def believe(rng: random.Random, topic: str, stated: Mapping[str, Sequence[str]], habit: Mapping[str, str], choices: Sequence[str]) -> str:
    """Return the choice of a policy that does not stray: a stated one, else its habit, else a random one."""
    if topic in stated:
        return rng.choice(stated[topic])
    return habit[topic] if topic in habit else rng.choice(choices)


def _draw_votes(rng: random.Random, choices: Sequence[str], truth: str, stated: str | None) -> list[tuple[str, int]]:
    """Draw one or two different proposed choices, the true one likelier and with more votes."""
    other = rng.choice([name for name in choices if name != truth])
    picked = [(truth, rng.choice((1, 1, 2, 3, 4)))] if rng.random() < 0.8 else []
    if rng.random() < 0.4:
        picked.append((other, rng.choice((1, 1, 1, 2))))
    return [(choice, count) for choice, count in picked if choice != stated]


def _problem(asked: Asked, truth: str) -> Problem:
    return Problem("pretrain", Split.TRAIN, 0, asked.question, truth, gold="")
