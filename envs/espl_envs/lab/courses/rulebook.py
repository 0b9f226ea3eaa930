"""The course of `rulebook`: chains of digits, imperfect solvers, and their attempts."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from espl_bench.prompts.dialect import Placement
from espl_envs.lab.language import Choices, LineReading, as_principles, as_stated, draw_beliefs
from espl_envs.lab.skills import DIALECT, Course, CritiqueCase, Example, Lesson, Skill, believe, habits, summary_messages
from espl_envs.rulebook.chains import Chain, Solution, work_out
from espl_envs.rulebook.meanings import MEANINGS, OPERATORS

NAMES = tuple(MEANINGS)

SLIP = 0.12
"""Share of digits that the training text replaces at random: practice can correct this."""
STRAY = 0.03
"""Share of steps in which the training text ignores a stated principle: this keeps a policy exploring."""


@dataclass(frozen=True, slots=True)
class Solver:
    """Behaviour of a simulated policy."""

    stated: Mapping[str, tuple[str, ...]]
    """Statements of its system message: operator → stated meanings (several if principles contradict each other)."""
    habit: Mapping[str, str]
    """Its meanings where nothing is stated (a policy that practised has habits)."""
    slip: float
    """Probability that a digit of a result is replaced by a random one and carried on."""
    stray: float
    """Probability that a stated meaning or a habit is not followed."""

    def attempt(self, rng: random.Random, chain: Chain) -> Solution:
        """Make one attempt, slips and strays included."""
        value, used, results = chain.numbers[0], [], []
        for operator, number in zip(chain.operators, chain.numbers[1:], strict=True):
            meaning = self._believe(rng, operator)
            tens, ones = work_out(meaning, value, number)
            value = self._write(rng, tens), self._write(rng, ones)
            used.append(meaning)
            results.append(value)
        return Solution(chain, tuple(used), tuple(results))

    def _believe(self, rng: random.Random, operator: str) -> str:
        return rng.choice(NAMES) if rng.random() < self.stray else believe(rng, operator, self.stated, self.habit, NAMES)

    def _write(self, rng: random.Random, digit: int) -> int:
        return rng.randrange(10) if rng.random() < self.slip else digit


def draw_world(rng: random.Random, size: int = len(OPERATORS)) -> dict[str, str]:
    """Draw fresh meanings for some of the operators, in random order."""
    return {operator: rng.choice(NAMES) for operator in rng.sample(OPERATORS, size)}


def draw_chain(rng: random.Random, operators: Collection[str], steps: int) -> Chain:
    """Draw a random chain of this many steps, or of as many as there are operators."""
    steps = min(steps, len(operators))
    numbers = tuple((rng.randrange(10), rng.randrange(10)) for _ in range(steps + 1))
    return Chain(numbers, tuple(rng.sample(list(operators), steps)))


class RulebookCourse(Course):
    """Chains of one to four steps under up to 24 operators."""

    name: ClassVar[str] = "rulebook"
    smallest: ClassVar[Lesson] = Lesson(topics=4, steps=1)
    full: ClassVar[Lesson] = Lesson(topics=len(OPERATORS), steps=4)
    mixture: ClassVar[Mapping[Skill, float]] = {
        Skill.SOLVE: 0.34,
        Skill.SUMMARISE: 0.06,
        Skill.CRITIQUE: 0.28,
        Skill.AGGREGATE: 0.18,
        Skill.CROSSOVER: 0.14,
    }
    choices: ClassVar[Choices] = dict.fromkeys(OPERATORS, NAMES)
    words: ClassVar[tuple[str, ...]] = (*map(str, range(10)), *OPERATORS, *NAMES)

    def world(self, rng: random.Random, lesson: Lesson) -> dict[str, str]:
        """Draw fresh meanings for two or more operators."""
        return draw_world(rng, rng.randint(2, lesson.topics))

    def ask(self, rng: random.Random, topics: Collection[str], steps: int) -> Chain:
        """Draw a chain."""
        return draw_chain(rng, topics, steps)

    def solve(self, rng: random.Random, lesson: Lesson) -> Example:
        """Work out a chain under a principle list that states some, all or none of its operators."""
        world = self.world(rng, lesson)
        chain = self.ask(rng, world, lesson.length(rng, (0.25, 0.3, 0.3, 0.15)))
        beliefs = draw_beliefs(rng, world, self.choices, known=rng.choice((0.0, 0.3, 0.6, 0.9, 1.0)), wrong=0.0)
        solution = Solver(as_stated(beliefs), {}, SLIP, STRAY).attempt(rng, chain)
        messages = DIALECT.prompt_messages(as_principles(beliefs), chain.question, Placement.SYSTEM)
        return Example(Skill.SOLVE, messages, solution.text, decided=False)

    def summarise(self, rng: random.Random, lesson: Lesson) -> Example:
        """Shorten an attempt to operator and believed meaning of each step."""
        world = self.world(rng, lesson)
        chain = self.ask(rng, world, lesson.length(rng, (0.25, 0.3, 0.3, 0.15)))
        attempt = Solver({}, {}, SLIP, STRAY).attempt(rng, chain)
        return Example(Skill.SUMMARISE, summary_messages(chain, attempt.text), attempt.summary, decided=True)

    def draw_case(self, rng: random.Random, lesson: Lesson, refuting: bool) -> CritiqueCase:
        """Draw attempts of one policy at one chain."""
        world = self.world(rng, lesson)
        chain = self.ask(rng, world, lesson.length(rng, (0.45, 0.45, 0.1)))
        known, wrong = (0.9, 0.6) if refuting else (rng.choice((0.0, 0.3, 0.6, 0.9)), rng.choice((0.1, 0.3, 0.6)))
        beliefs = tuple(draw_beliefs(rng, world, self.choices, known, wrong))
        habit = habits(rng, world, self.choices)
        stray = 0.3 if refuting else rng.choice((0.03, 0.1, 0.3))
        solver = Solver(as_stated(beliefs), habit, slip=rng.uniform(0.0, 0.2), stray=stray)
        truth = chain.solve(world).answer
        attempts = [solver.attempt(rng, chain) for _ in range(rng.choice((3, 4, 5, 5, 5, 6)))]
        readings = [LineReading(chain.operators, attempt.used, attempt.answer == truth) for attempt in attempts]
        return self.judged(rng, beliefs, chain, truth, readings, [attempt.summary for attempt in attempts])
