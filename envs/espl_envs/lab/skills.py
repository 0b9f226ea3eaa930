"""The five skills of the lab model as endless streams of examples: solve, summarise, critique, aggregate, crossover.

An example's prompt is rendered by the very templates that the harness's operators use (dialect `compact`), so what the
model learns to read in pre-training is what it is shown in a run.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from espl_bench.dialect import Dialect, Placement, TemplateName
from espl_bench.operators.edits import Modify
from espl_bench.operators.reflection import (
    LABELS,
    AttemptView,
    ParentView,
    Proposal,
    aggregate_context,
    critique_context,
    crossover_context,
    summary_context,
)
from espl_bench.types import Message, Problem, Split
from espl_envs.lab.language import (
    NAMES,
    Belief,
    Champion,
    Finding,
    Reading,
    Solver,
    as_principles,
    as_stated,
    draw_beliefs,
    draw_chain,
    draw_world,
    judge_attempts,
    judge_parents,
    settle,
)
from espl_envs.rulebook.chains import Chain, Solution
from espl_envs.rulebook.meanings import OPERATORS, principle

DIALECT = Dialect.load("compact")

SLIP = 0.12
"""Share of digits that the solver's training text replaces by a random one: what practice can put right."""
STRAY = 0.03
"""Share of steps in which the training text does not follow a stated principle: what keeps a policy exploring."""


class Skill(StrEnum):
    """What the lab model can do."""

    SOLVE = "solve"
    SUMMARISE = "summarise"
    CRITIQUE = "critique"
    AGGREGATE = "aggregate"
    CROSSOVER = "crossover"


@dataclass(frozen=True, slots=True)
class Lesson:
    """How hard examples may be."""

    operators: int = len(OPERATORS)
    """Operators of the largest world; every example draws a size up to this."""
    steps: int = 4
    """Length of the longest chain."""

    def world(self, rng: random.Random) -> dict[str, str]:
        """Fresh meanings for two or more operators."""
        return draw_world(rng, rng.randint(2, self.operators))

    def chain(self, rng: random.Random, operators: Collection[str], shares: tuple[float, ...]) -> Chain:
        """A chain of one step, two, …, each with its share; longer ones than the lesson allows are cut short."""
        return draw_chain(rng, operators, min(self.steps, rng.choices(range(1, len(shares) + 1), shares)[0]))


FULL = Lesson()


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: what is shown and what is to be written."""

    skill: Skill
    messages: tuple[Message, ...]
    target: str
    decided: bool
    """Whether the target is the only right one."""


def solve(rng: random.Random, lesson: Lesson = FULL) -> Example:
    """Work out a chain under a principle list that states some, all or none of its operators."""
    world = lesson.world(rng)
    chain = lesson.chain(rng, world, (0.25, 0.3, 0.3, 0.15))
    beliefs = draw_beliefs(rng, world, known=rng.choice((0.0, 0.3, 0.6, 0.9, 1.0)), wrong=0.0)
    solution = Solver(as_stated(beliefs), {}, SLIP, STRAY).attempt(rng, chain)
    messages = DIALECT.prompt_messages(as_principles(beliefs), chain.question, Placement.SYSTEM)
    return Example(Skill.SOLVE, messages, solution.text, decided=False)


def summarise(rng: random.Random, lesson: Lesson = FULL) -> Example:
    """Shorten an attempt to operator and believed meaning of each step."""
    chain = lesson.chain(rng, lesson.world(rng), (0.25, 0.3, 0.3, 0.15))
    attempt = Solver({}, {}, SLIP, STRAY).attempt(rng, chain)
    context = summary_context(_problem(chain, ""), attempt.text)
    return Example(Skill.SUMMARISE, DIALECT.reflection_messages(TemplateName.SUMMARY, context), attempt.summary, True)


@dataclass(frozen=True, slots=True)
class CritiqueCase:
    """A critique's evidence, kept apart from its wording so that it can be measured."""

    beliefs: tuple[Belief, ...]
    chain: Chain
    truth: str
    attempts: tuple[Solution, ...]
    finding: Finding

    @property
    def right(self) -> int:
        """Attempts that gave the truth."""
        return sum(attempt.answer == self.truth for attempt in self.attempts)


def draw_critique(rng: random.Random, lesson: Lesson = FULL) -> CritiqueCase:
    """A problem with contrast: attempts of one policy under one principle list, at least one right and one wrong.

    Evidence against a stated principle is rare by chance, so every third case is drawn until it holds some.
    """
    refuting = rng.random() < 0.35
    while True:
        case = _draw_case(rng, lesson, refuting)
        refuted = any(isinstance(edit, Modify) for edit in case.finding.edits)
        if 0 < case.right < len(case.attempts) and (refuted or not refuting):
            return case


def _draw_case(rng: random.Random, lesson: Lesson, refuting: bool) -> CritiqueCase:
    """Attempts of one policy; with `refuting`, one that knows much, is often wrong and often strays."""
    world = lesson.world(rng)
    chain = lesson.chain(rng, world, (0.45, 0.45, 0.1))
    known, wrong = (0.9, 0.6) if refuting else (rng.choice((0.0, 0.3, 0.6, 0.9)), rng.choice((0.1, 0.3, 0.6)))
    beliefs = tuple(draw_beliefs(rng, world, known, wrong))
    habit = {operator: rng.choice((meaning, meaning, rng.choice(NAMES))) for operator, meaning in world.items() if rng.random() < 0.5}
    stray = 0.3 if refuting else rng.choice((0.03, 0.1, 0.3))
    solver = Solver(as_stated(beliefs), habit, slip=rng.uniform(0.0, 0.2), stray=stray)
    truth = chain.solve(world).answer
    attempts = tuple(solver.attempt(rng, chain) for _ in range(rng.choice((3, 4, 5, 5, 5, 6))))
    readings = [Reading(chain.operators, attempt.used, attempt.answer == truth) for attempt in attempts]
    return CritiqueCase(beliefs, chain, truth, attempts, judge_attempts(rng, beliefs, readings))


def critique(rng: random.Random, lesson: Lesson = FULL) -> Example:
    """Write the edits that labelled attempts at one problem support."""
    case = draw_critique(rng, lesson)
    principles = as_principles(case.beliefs)
    views = [AttemptView(attempt.answer == case.truth, attempt.summary) for attempt in case.attempts]
    context = critique_context(principles, _problem(case.chain, case.truth), views)
    messages = DIALECT.reflection_messages(TemplateName.CRITIQUE, context)
    return Example(Skill.CRITIQUE, messages, case.finding.text(principles), case.finding.decided)


def aggregate(rng: random.Random, lesson: Lesson = FULL) -> Example:
    """Turn many problems' proposals into one consistent list: of what concerns one operator, keep what has most votes."""
    world = lesson.world(rng)
    beliefs = list(dict(draw_beliefs(rng, world, known=rng.choice((0.0, 0.3, 0.6, 0.9)), wrong=0.3)).items())
    stated = dict(beliefs)
    votes = {
        (operator, meaning): count
        for operator in rng.sample(list(world), rng.randint(1, min(6, len(world))))
        for meaning, count in _draw_votes(rng, world[operator], stated.get(operator))
    }
    asked = sorted(votes, key=lambda belief: (-votes[belief], rng.random()))
    added = [belief for belief in asked if belief[0] not in stated]
    changes = [belief for belief in asked if belief[0] in stated]
    places = {operator: index for index, operator in enumerate(stated)}
    context = aggregate_context(
        as_principles(beliefs),
        [Proposal(index, principle(*belief), votes[belief]) for index, belief in enumerate(added, start=len(beliefs))],
        [Proposal(places[belief[0]], principle(*belief), votes[belief]) for belief in changes],
    )
    messages = DIALECT.reflection_messages(TemplateName.AGGREGATE, context)
    finding = settle(beliefs, added, changes)
    return Example(Skill.AGGREGATE, messages, finding.text(as_principles([*beliefs, *added])), finding.decided)


def _draw_votes(rng: random.Random, truth: str, stated: str | None) -> list[tuple[str, int]]:
    """One or two different meanings asked for, the true one likelier and with more votes."""
    other = rng.choice([name for name in NAMES if name != truth])
    picked = [(truth, rng.choice((1, 1, 2, 3, 4)))] if rng.random() < 0.8 else []
    if rng.random() < 0.4:
        picked.append((other, rng.choice((1, 1, 1, 2))))
    return [(meaning, count) for meaning, count in picked if meaning != stated]


def crossover(rng: random.Random, lesson: Lesson = FULL) -> Example:
    """Edit set A by what the other sets did better on. In most cases there is something."""
    eventful = rng.random() < 0.6
    while True:
        champions = _draw_champions(rng, lesson)
        finding = judge_parents(champions[0], champions[1:])
        if finding.edits or not eventful:
            break
    views = [ParentView(c.label, as_principles(c.beliefs), tuple(chain.question for chain in c.won)) for c in champions]
    messages = DIALECT.reflection_messages(TemplateName.CROSSOVER, crossover_context(views))
    return Example(Skill.CROSSOVER, messages, finding.text(views[0].principles), finding.decided)


def _draw_champions(rng: random.Random, lesson: Lesson) -> list[Champion]:
    """A principle list and one or two relatives, each with problems that it won: mostly about operators that nobody else won with."""
    world = lesson.world(rng)
    shared = draw_beliefs(rng, world, known=rng.choice((0.3, 0.6, 0.9)), wrong=0.3)
    fresh = rng.sample(list(world), len(world))
    champions: list[Champion] = []
    for label in LABELS[: rng.choice((2, 2, 3))]:
        beliefs = tuple(_vary(rng, shared, world) if champions else shared)
        won = tuple(_draw_win(rng, lesson, world, fresh) for _ in range(rng.choice((1, 1, 2, 3))))
        champions.append(Champion(label, beliefs, won))
    return champions


def _draw_win(rng: random.Random, lesson: Lesson, world: Mapping[str, str], fresh: list[str]) -> Chain:
    """A chain of one or two steps, mostly of operators that are still fresh; these are used up."""
    known = list(world) if rng.random() < 0.2 or len(fresh) < 2 else fresh
    chain = lesson.chain(rng, known, (0.5, 0.5))
    fresh[:] = [operator for operator in fresh if operator not in chain.operators]
    return chain


def _vary(rng: random.Random, shared: Sequence[Belief], world: Mapping[str, str]) -> list[Belief]:
    """A relative of a principle list: some principles dropped, reworded or added, the order mostly kept."""
    kept = [
        (operator, rng.choice((world[operator], rng.choice(NAMES))) if rng.random() < 0.3 else meaning)
        for operator, meaning in shared
        if rng.random() < 0.85
    ]
    known = {operator for operator, _ in kept}
    return list(dict.fromkeys(kept)) + [(operator, world[operator]) for operator in world if operator not in known and rng.random() < 0.3]


def _problem(chain: Chain, truth: str) -> Problem:
    return Problem("pretrain", Split.TRAIN, 0, chain.question, truth, gold="")


SKILLS: Mapping[Skill, Callable[[random.Random, Lesson], Example]] = {
    Skill.SOLVE: solve,
    Skill.SUMMARISE: summarise,
    Skill.CRITIQUE: critique,
    Skill.AGGREGATE: aggregate,
    Skill.CROSSOVER: crossover,
}

MIXTURE: Mapping[Skill, float] = {
    Skill.SOLVE: 0.34,
    Skill.SUMMARISE: 0.06,
    Skill.CRITIQUE: 0.28,
    Skill.AGGREGATE: 0.18,
    Skill.CROSSOVER: 0.14,
}
"""Share of each skill among the examples."""


def draw(rng: random.Random, lesson: Lesson) -> Example:
    """One example of the mixture."""
    skill = rng.choices(list(MIXTURE), list(MIXTURE.values()))[0]
    return SKILLS[skill](rng, lesson)
