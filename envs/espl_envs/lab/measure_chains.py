"""Measure how well a lab model works out chains of digits: following, guessing, executing."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espl_bench.prompts.dialect import Placement
from espl_bench.seeding import seed_for
from espl_envs.lab.courses.rulebook import RulebookCourse, draw_chain, draw_world
from espl_envs.lab.language import as_principles, as_stated, draw_beliefs
from espl_envs.lab.skills import DIALECT
from espl_envs.lab.writer import Rate, Writer
from espl_envs.rulebook.chains import Chain
from espl_envs.rulebook.meanings import MEANINGS


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a written solution, as far as it is readable."""

    meaning: str
    followed: bool
    stated: bool
    true_meaning: bool
    executed: bool


def read_steps(text: str, chain: Chain, stated: Mapping[str, tuple[str, ...]], world: Mapping[str, str]) -> list[Step]:
    """Return the steps of a solution that have the expected form; others are left out (and counted by the caller)."""
    steps = []
    for operator, part in zip(chain.operators, text.split(" ; "), strict=False):
        match part.split():
            case [written, meaning, *digits] if written == operator and meaning in MEANINGS:
                follows = meaning in stated.get(operator, ())
                steps.append(Step(meaning, follows, operator in stated, meaning == world[operator], _executed(meaning, digits)))
    return steps


def _executed(meaning: str, digits: Sequence[str]) -> bool:
    """Return True if ``3 5 = 5 8 2 = 8`` is the result by the meaning, place by place."""
    match digits:
        case [tens, other_tens, "=", first, ones, other_ones, "=", second]:
            sums = ((tens, other_tens, first), (ones, other_ones, second))
            return all(all(map(str.isdigit, row)) and MEANINGS[meaning](int(row[0]), int(row[1])) == int(row[2]) for row in sums)
    return False


def measure_solving(writer: Writer, items: int) -> list[Rate]:
    """Measure following, guessing, executing, and whole chains with everything stated."""
    rng = random.Random(seed_for(0, "measure", "solve"))
    cases = []
    for _ in range(items):
        world = draw_world(rng)
        cases.append(
            (world, draw_chain(rng, world, rng.randint(1, 4)), draw_beliefs(rng, world, RulebookCourse.choices, known=0.5, wrong=0.3))
        )
    prompts = [DIALECT.prompt_messages(as_principles(beliefs), chain.question, Placement.SYSTEM) for _, chain, beliefs in cases]
    texts = writer.write(prompts, "solve")
    read = [read_steps(text, chain, as_stated(beliefs), world) for text, (world, chain, beliefs) in zip(texts, cases, strict=True)]
    steps = [step for solution in read for step in solution]
    expected = sum(len(chain.operators) for _, chain, _ in cases)
    stated = [step for step in steps if step.stated]
    free = [step for step in steps if not step.stated]
    return [
        Rate("steps written in the expected form", len(steps), expected),
        Rate("stated principle followed (steps)", sum(step.followed for step in stated), len(stated)),
        Rate("true meaning without a principle (chance 10 %)", sum(step.true_meaning for step in free), len(free)),
        Rate("result as the believed meaning gives (steps of two digits)", sum(step.executed for step in steps), len(steps)),
        *(measure_chains(writer, length, items // 2) for length in (1, 2, 3, 4)),
    ]


def measure_chains(writer: Writer, length: int, items: int) -> Rate:
    """Measure whole chains of one length, all operators stated truly."""
    rng = random.Random(seed_for(0, "measure", "chains", length))
    cases = []
    for _ in range(items):
        world = draw_world(rng)
        cases.append((draw_chain(rng, world, length), list(world.items()), world))
    prompts = [DIALECT.prompt_messages(as_principles(beliefs), chain.question, Placement.SYSTEM) for chain, beliefs, _ in cases]
    texts = writer.write(prompts, f"chains{length}")
    right = sum(text.endswith(f"answer {chain.solve(world).answer}") for text, (chain, _, world) in zip(texts, cases, strict=True))
    return Rate(f"{length}-step chains right, everything told", right, items)
