"""The five skills of the lab model as endless streams of examples: solve, summarise, critique, aggregate, crossover.

An example's prompt is rendered by the very templates that the harness's operators use (dialect `compact`), so what the
model learns to read in pre-training is what it is shown in a run.
"""

import random
from collections.abc import Callable, Mapping
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
    Champion,
    Finding,
    Solver,
    Vote,
    as_principles,
    as_stated,
    draw_beliefs,
    draw_chain,
    draw_world,
    judge_attempts,
    judge_parents,
    settle,
    write_edits,
)
from espl_envs.rulebook.chains import Chain, Solution
from espl_envs.rulebook.meanings import SYMBOLS, principle

DIALECT = Dialect.load("compact")

SLIP = 0.25
"""Share of results that the solver's training text replaces by a random digit: what practice can put right."""
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
class Example:
    """One training example: what is shown and what is to be written."""

    skill: Skill
    messages: tuple[Message, ...]
    target: str
    decided: bool
    """Whether the target is the only right one."""


def solve(rng: random.Random, steps: int | None = None, slip: float = SLIP, stray: float = STRAY) -> Example:
    """Work out a chain under a principle list that states some, all or none of its operators."""
    world = draw_world(rng)
    chain = draw_chain(rng, steps or rng.choices((1, 2, 3, 4), (0.25, 0.3, 0.3, 0.15))[0])
    pairs = draw_beliefs(rng, world, known=rng.choice((0.0, 0.3, 0.6, 0.9, 1.0)), wrong=0.0)
    solution = Solver(as_stated(pairs), {}, slip, stray).attempt(rng, chain)
    messages = DIALECT.prompt_messages(as_principles(pairs), chain.question, Placement.SYSTEM)
    return Example(Skill.SOLVE, messages, solution.text, decided=False)


def lookup(rng: random.Random) -> Example:
    """The first lesson: one step, two to four principles, no slips."""
    world = draw_world(rng)
    symbols = rng.sample(SYMBOLS, rng.randint(2, 4))
    chain = Chain((rng.randrange(10), rng.randrange(10)), (rng.choice(symbols),))
    principles = tuple(principle(symbol, world[symbol]) for symbol in symbols)
    messages = DIALECT.prompt_messages(principles, chain.question, Placement.SYSTEM)
    return Example(Skill.SOLVE, messages, chain.solve(world).text, decided=True)


def summarise(rng: random.Random) -> Example:
    """Shorten an attempt to operator, believed meaning and result of each step."""
    chain = draw_chain(rng, rng.randint(1, 4))
    attempt = Solver({}, {}, SLIP, STRAY).attempt(rng, chain)
    context = summary_context(_problem(chain, 0), attempt.text)
    return Example(Skill.SUMMARISE, DIALECT.reflection_messages(TemplateName.SUMMARY, context), attempt.summary, True)


@dataclass(frozen=True, slots=True)
class CritiqueCase:
    """A critique's evidence, kept apart from its wording so that it can be measured."""

    pairs: tuple[tuple[str, str], ...]
    chain: Chain
    truth: int
    attempts: tuple[Solution, ...]
    finding: Finding


def draw_critique(rng: random.Random) -> CritiqueCase:
    """A problem with contrast: attempts of one policy under one principle list, at least one right and one wrong.

    Evidence against a stated principle is rare by chance, so three cases in ten are drawn until they hold some.
    """
    refuting = rng.random() < 0.3
    while True:
        case = _draw_case(rng, refuting)
        right = sum(attempt.answer == case.truth for attempt in case.attempts)
        refuted = any(isinstance(edit, Modify) for edit in case.finding.edits)
        if 0 < right < len(case.attempts) and (refuted or not refuting):
            return case


def _draw_case(rng: random.Random, refuting: bool) -> CritiqueCase:
    """Attempts of one policy; with `refuting`, one that knows much, is often wrong and often strays."""
    world = draw_world(rng)
    chain = draw_chain(rng, rng.choices((1, 2, 3), (0.5, 0.4, 0.1))[0])
    known, wrong = (0.9, 0.6) if refuting else (rng.choice((0.0, 0.3, 0.6, 0.9)), rng.choice((0.1, 0.3, 0.6)))
    pairs = tuple(draw_beliefs(rng, world, known, wrong))
    habit = {symbol: rng.choice((world[symbol], rng.choice(NAMES))) for symbol in SYMBOLS if rng.random() < 0.3}
    stray = 0.3 if refuting else rng.choice((0.03, 0.1, 0.3))
    solver = Solver(as_stated(pairs), habit, slip=rng.uniform(0.0, 0.35), stray=stray)
    truth = chain.solve(world).answer
    attempts = tuple(solver.attempt(rng, chain) for _ in range(rng.choice((3, 4, 5, 5, 5, 6))))
    return CritiqueCase(pairs, chain, truth, attempts, judge_attempts(rng, pairs, truth, attempts))


def critique(rng: random.Random) -> Example:
    """Write the edits that labelled attempts at one problem support."""
    case = draw_critique(rng)
    views = [AttemptView(attempt.answer == case.truth, attempt.summary) for attempt in case.attempts]
    context = critique_context(as_principles(case.pairs), _problem(case.chain, case.truth), views)
    messages = DIALECT.reflection_messages(TemplateName.CRITIQUE, context)
    return Example(Skill.CRITIQUE, messages, write_edits(case.finding.edits), case.finding.decided)


def aggregate(rng: random.Random) -> Example:
    """Turn many problems' proposals into one consistent list: merge what concerns one operator, keep what has most votes."""
    world = draw_world(rng)
    pairs = draw_beliefs(rng, world, known=rng.choice((0.0, 0.3, 0.6, 0.9)), wrong=0.3)
    eager = rng.uniform(0.1, 0.9)
    asked = [symbol for symbol in SYMBOLS if rng.random() < eager]
    rng.shuffle(asked)
    stated = as_stated(pairs)
    proposals = [
        (symbol, meaning, votes) for symbol in asked for meaning, votes in _draw_votes(rng, world[symbol], barred=stated.get(symbol, ()))
    ]
    rng.shuffle(proposals)
    first = {symbol: next(index for index, (other, _) in enumerate(pairs) if other == symbol) for symbol in stated}
    new = [row for row in proposals if row[0] not in first]
    added = {symbol: [] for symbol, _, _ in new}
    for index, (symbol, meaning, votes) in enumerate(new, start=len(pairs)):
        added[symbol].append(Vote(index, meaning, votes))
    changes = {symbol: [Vote(first[symbol], meaning, votes) for other, meaning, votes in proposals if other == symbol] for symbol in first}
    findings = []
    for symbol in (*stated, *added):
        standing = added.get(symbol) or [Vote(index, meaning, 0) for index, (other, meaning) in enumerate(pairs) if other == symbol]
        findings.append(settle(rng, symbol, standing, changes.get(symbol, ())))
    context = aggregate_context(
        as_principles(pairs),
        [Proposal(vote.index, principle(symbol, vote.meaning), vote.votes) for symbol, vote in _by_index(added)],
        [Proposal(first[symbol], principle(symbol, meaning), votes) for symbol, meaning, votes in proposals if symbol in first],
    )
    edits = sorted((edit for finding in findings for edit in finding.edits), key=_place)
    messages = DIALECT.reflection_messages(TemplateName.AGGREGATE, context)
    return Example(Skill.AGGREGATE, messages, write_edits(edits), all(finding.decided for finding in findings))


def crossover(rng: random.Random) -> Example:
    """Edit set A by what the other sets did better on."""
    world = draw_world(rng)
    shared = draw_beliefs(rng, world, known=rng.choice((0.3, 0.6, 0.9)), wrong=0.3)
    champions = []
    for label in LABELS[: rng.choice((2, 2, 3))]:
        pairs = tuple(_vary(rng, shared, world)) if champions else tuple(shared)
        won = tuple(draw_chain(rng, rng.choice((1, 2))) for _ in range(rng.choice((1, 1, 2, 3, 5))))
        champions.append(Champion(label, pairs, won))
    finding = judge_parents(champions[0], champions[1:])
    views = [ParentView(c.label, as_principles(c.pairs), tuple(chain.question for chain in c.won)) for c in champions]
    messages = DIALECT.reflection_messages(TemplateName.CROSSOVER, crossover_context(views))
    return Example(Skill.CROSSOVER, messages, write_edits(finding.edits), finding.decided)


def _vary(rng: random.Random, shared: list[tuple[str, str]], world: Mapping[str, str]) -> list[tuple[str, str]]:
    """A relative of a principle list: some principles dropped, reworded or added, the order mostly kept."""
    kept = [
        (symbol, rng.choice((world[symbol], rng.choice(NAMES))) if rng.random() < 0.3 else meaning)
        for symbol, meaning in shared
        if rng.random() < 0.85
    ]
    known = {symbol for symbol, _ in kept}
    return kept + [(symbol, world[symbol]) for symbol in SYMBOLS if symbol not in known and rng.random() < 0.3]


def _draw_votes(rng: random.Random, truth: str, barred: tuple[str, ...]) -> list[tuple[str, int]]:
    """One to three different meanings asked for, the true one likelier and with more votes."""
    meanings = [truth, *rng.sample([name for name in NAMES if name != truth], 2)]
    picked = [meaning for meaning, p in zip(meanings, (0.8, 0.35, 0.1), strict=True) if rng.random() < p and meaning not in barred]
    rng.shuffle(picked)
    return [(meaning, rng.choice((1, 1, 2, 3, 4) if meaning == truth else (1, 1, 1, 2))) for meaning in picked]


def _by_index(added: Mapping[str, list[Vote]]) -> list[tuple[str, Vote]]:
    return sorted(((symbol, vote) for symbol, votes in added.items() for vote in votes), key=lambda row: row[1].index)


def _place(edit: object) -> int:
    ids = getattr(edit, "ids", None)
    return min(ids) if ids else getattr(edit, "id", 0)


def _problem(chain: Chain, truth: int) -> Problem:
    return Problem("pretrain", Split.TRAIN, 0, chain.question, str(truth), gold="")


SKILLS: Mapping[Skill, Callable[[random.Random], Example]] = {
    Skill.SOLVE: solve,
    Skill.SUMMARISE: summarise,
    Skill.CRITIQUE: critique,
    Skill.AGGREGATE: aggregate,
    Skill.CROSSOVER: crossover,
}

MIXTURE: Mapping[Skill, float] = {
    Skill.SOLVE: 0.40,
    Skill.SUMMARISE: 0.04,
    Skill.CRITIQUE: 0.30,
    Skill.AGGREGATE: 0.13,
    Skill.CROSSOVER: 0.13,
}
"""Share of each skill among the examples after the first lesson."""


def draw(rng: random.Random) -> Example:
    """One example of the mixture."""
    skill = rng.choices(list(MIXTURE), list(MIXTURE.values()))[0]
    return SKILLS[skill](rng)
