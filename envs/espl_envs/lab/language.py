"""The language of editors, in any world: beliefs, evidence from attempts, and the edits that follow.

A world gives each of its topics one of a few choices, and a principle states one: topic and choice, one word each. Each example
draws a fresh world, so the model cannot know any; it can only learn to read one. Everything here is a pure function of the
`random.Random` passed in.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from espl_bench.evolution.operators.edits import Add, Merge, Modify, Remove

Belief = tuple[str, str]
"""A topic and the choice that a principle states for it."""

Written = Add | Modify | Merge | Remove
"""Edits of a list of principles. A lab model does not rewrite whole texts."""

Choices = Mapping[str, Sequence[str]]
"""Topic → its possible choices."""


class Asked(Protocol):
    """A problem, as editors see it."""

    @property
    def question(self) -> str:
        """Return the problem as text."""
        ...

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics needed to solve it, in the order of the text."""
        ...


def principle(topic: str, choice: str) -> str:
    """Return the principle that states one choice, e.g. ``dax larger``: the choice comes directly after its topic."""
    return f"{topic} {choice}"


def draw_beliefs(rng: random.Random, world: Mapping[str, str], choices: Choices, known: float, wrong: float) -> list[Belief]:
    """Draw a principle list, in random order.

    Each topic is stated with probability `known`, wrongly with probability `wrong` of those; one in seven lists states
    some topic twice.
    """
    beliefs = [
        (topic, rng.choice(choices[topic]) if rng.random() < wrong else choice) for topic, choice in world.items() if rng.random() < known
    ]
    if beliefs and rng.random() < 0.15:
        topic = rng.choice(beliefs)[0]
        beliefs.append((topic, rng.choice(choices[topic])))
    rng.shuffle(beliefs)
    return list(dict.fromkeys(beliefs))


def as_stated(beliefs: Sequence[Belief]) -> dict[str, tuple[str, ...]]:
    """Map each topic to the choices that a principle list states for it, in order."""
    stated: dict[str, tuple[str, ...]] = {}
    for topic, choice in beliefs:
        stated[topic] = (*stated.get(topic, ()), choice)
    return stated


def as_principles(beliefs: Sequence[Belief]) -> tuple[str, ...]:
    """Return the principles of a list of beliefs."""
    return tuple(principle(topic, choice) for topic, choice in beliefs)


@dataclass(frozen=True, slots=True)
class Line:
    """One item of an editor's text: the evidence, and the edit that follows from it."""

    note: str
    """Evidence, looked up and written down before it is judged: a small model reasons best in writing."""
    edit: Written | None = None
    decided: bool = True
    """False if the evidence left a choice open and chance made it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An editor's text."""

    lines: tuple[Line, ...]

    @property
    def edits(self) -> tuple[Written, ...]:
        """Return the edits, in the order written."""
        return tuple(line.edit for line in self.lines if line.edit is not None)

    @property
    def decided(self) -> bool:
        """True if it is the only right one."""
        return all(line.decided for line in self.lines)

    def text(self, shown: Sequence[str]) -> str:
        """Write every note followed by the JSON of its edit; an empty list if there is nothing to edit.

        Args:
            shown: the principles as shown to the editor; an edit names one by quoting it.
        """
        written = [f"{line.note} {write_edit(line.edit, shown)} ;" if line.edit else f"{line.note} ;" for line in self.lines]
        return " ".join(written if self.edits else [*written, "[ ]"])


@dataclass(frozen=True, slots=True)
class LineReading:
    """An attempt as shown to a critique: its label and its summary."""

    topics: tuple[str, ...]
    used: tuple[str, ...]
    """The choice made for each topic."""
    right: bool


def judge_attempts(rng: random.Random, beliefs: Sequence[Belief], attempts: Sequence[LineReading], max_edits: int = 2) -> Finding:
    """Critique: the edits that labelled attempts at one problem support.

    A right attempt supports every choice it made. A topic without a principle is added with the choice that most right attempts
    made. A stated choice is kept if one of them made it, and is modified if they made only others. Notes:
    ``dax larger larger stated minus``.
    """
    right = [attempt for attempt in attempts if attempt.right]
    lines: list[Line] = []
    for index, topic in enumerate(attempts[0].topics):
        line = _judge_topic(rng, beliefs, topic, [attempt.used[index] for attempt in right])
        full = sum(line.edit is not None for line in lines) == max_edits
        lines.append(replace(line, edit=None) if full else line)
    return Finding(tuple(lines))


def _judge_topic(rng: random.Random, beliefs: Sequence[Belief], topic: str, proven: Sequence[str]) -> Line:
    """Judge one topic by the right attempts; `proven` are the choices they made."""
    stated = as_stated(beliefs).get(topic, ())
    note = " ".join([topic, *proven, "stated", *(stated or ("none",))])
    votes = Counter(proven)
    if not proven or any(choice in votes for choice in stated):
        return Line(note)
    best = sorted(name for name in votes if votes[name] == max(votes.values()))
    text = principle(topic, rng.choice(best))
    return Line(note, Modify(beliefs.index((topic, stated[0])), text) if stated else Add(text), len(best) == 1)


def settle(beliefs: Sequence[Belief], added: Sequence[Belief], changes: Sequence[Belief]) -> Finding:
    """Aggregate: of several proposals about one topic the first counts, which has the most votes.

    A principle with proposed changes is modified to the first; an addition about a topic that was added before is merged
    into the earlier one. Notes name the first proposal about the topic, then what a change replaces: ``dax sum first larger``,
    ``dax larger first larger over minus``.
    """
    old, new = as_stated(beliefs), as_stated(added)
    lines: list[Line] = []
    for index, (topic, choice) in enumerate(added, start=len(beliefs)):
        first = new[topic][0]
        ids = (len(beliefs) + added.index((topic, first)), index)
        lines.append(Line(f"{topic} {choice} first {first}", Merge(ids, principle(topic, first)) if choice != first else None))
    wanted = as_stated(changes)
    for topic, choice in changes:
        first, stated = wanted[topic][0], old[topic][0]
        note = f"{topic} {choice} first {first}"
        if choice == first:
            edit = Modify(beliefs.index((topic, stated)), principle(topic, choice))
            lines.append(Line(f"{note} over {stated}", edit))
        else:
            lines.append(Line(note))
    return Finding(tuple(lines))


@dataclass(frozen=True, slots=True)
class Champion:
    """A parent in a crossover: its principle list and the problems on which it alone did best."""

    label: str
    beliefs: tuple[Belief, ...]
    won: tuple[Asked, ...]


def judge_parents(first: Champion, rivals: Sequence[Champion]) -> Finding:
    """Cross over: decide what set A should take from its rivals.

    For a topic of a problem that a rival won, and that occurs in no problem that A won, A adopts the rival's view: its choice if
    A has none (add) or another (modify), nothing if the rival has none (remove). The first win decides. Notes repeat each
    problem before its topics: ``B won 3 8 dax 5 2 = ?``, then ``dax won``, or ``A dax minus B dax larger``.
    """
    settled = {topic for problem in first.won for topic in problem.topics}
    lines: list[Line] = []
    for rival in rivals:
        for problem in rival.won:
            lines.append(Line(f"{rival.label} won {problem.question}"))
            for topic in problem.topics:
                lines.append(Line(f"{topic} won") if topic in settled else _take_over(first, rival, topic))
                settled.add(topic)
    return Finding(tuple(lines))


def _take_over(first: Champion, rival: Champion, topic: str) -> Line:
    """Give set A a rival's view of one topic. Of several choices the first counts."""
    mine, theirs = (as_stated(champion.beliefs).get(topic, (None,))[0] for champion in (first, rival))
    note = f"A {topic} {mine or 'none'} {rival.label} {topic} {theirs or 'none'}"
    evidence = f"set {rival.label}"
    if mine == theirs:
        return Line(note)
    if mine is None:
        return Line(note, Add(principle(topic, theirs or ""), evidence))
    index = first.beliefs.index((topic, mine))
    return Line(note, Modify(index, principle(topic, theirs), evidence) if theirs else Remove(index, evidence))


def write_edit(edit: Written, shown: Sequence[str]) -> str:
    """Write the JSON of an edit, spaced so that a word-level vocabulary of fixed pieces can spell it.

    A principle is named by quoting it: copying a text is easier for a small model than looking up its label.
    """
    tail = f' ","evidence":" {edit.evidence} "}}' if edit.evidence else ' "}'
    match edit:
        case Add(principle=text):
            return f'{{"op":"add","principle":" {text}{tail}'
        case Modify(id=index, principle=text):
            return f'{{"op":"modify","id":" {shown[index]} ","principle":" {text}{tail}'
        case Remove(id=index):
            return f'{{"op":"remove","id":" {shown[index]}{tail}'
        case Merge(ids=indices, principle=text):
            listed = ' "," '.join(shown[index] for index in indices)
            return f'{{"op":"merge","ids":[" {listed} "],"principle":" {text}{tail}'
