"""Rulebook: infer the meanings of operators, and carry out long chains of them without a slip."""

import random
from functools import cache
from typing import ClassVar

from espl_bench.environment.text_env import SingleTurnEnv, Verdict
from espl_bench.errors import UsageError
from espl_bench.seeding import seed_for
from espl_bench.types import Outcome, Problem, Split
from espl_bench.utils.numbers import is_whole
from espl_envs.last_answer import last_answer
from espl_envs.rulebook.chains import Chain
from espl_envs.rulebook.meanings import MEANINGS, OPERATORS


class RulebookEnv(SingleTurnEnv):
    """Chains of two-digit numbers under 24 operators whose meanings are hidden, worked out from left to right.

    Description:
        ``3 8 dax 5 2 fep 1 0 = ?`` with, say, ``dax`` the larger digit and ``fep`` the last digit of the sum, place by place,
        has the answer 6 8. A world gives each operator one of ten meanings. Knowing the meanings is declarative and fits into
        a list of principles; carrying out a long chain without a slip is procedural and has to be practised.

    Action space:
        Text. The answer is the text after the last word ``answer``: two digits, with or without a blank between them.

    Observation space:
        Text: the chain. A chain uses an operator at most once.

    Rewards:
        1 if the answer is the chain's value, else 0.

    Episode end:
        Terminated after one response; truncated if that is longer than 2,000 characters.

    Splits:
        train 256 and validation 64 items, half of one step, a quarter each of two and three; test 100 items of three steps. Item
        i is a pure function of (world, split, i). Validation chains never occur in train: each question belongs to one side
        by its hash.

    Arguments:
        world: Seed of the hidden meanings; every number is another world.

    Version history:
        v0: first version.
    """

    max_response_chars: ClassVar[int] = 2_000
    sizes: ClassVar[dict[Split, int]] = {Split.TRAIN: 256, Split.VALIDATION: 64, Split.TEST: 100}
    steps: ClassVar[dict[Split, tuple[int, ...]]] = {Split.TRAIN: (1, 1, 2, 3), Split.VALIDATION: (1, 1, 2, 3), Split.TEST: (3,)}

    def __init__(self, world: int = 0) -> None:
        """Raise UsageError unless `world` is a whole number from 0."""
        super().__init__()
        if not is_whole(world, least=0):
            raise UsageError(f"rulebook: world must be a whole number from 0, not {world!r}")
        self.world = world

    def size(self, split: Split) -> int:
        """Return 256, 64 or 100."""
        return self.sizes[split]

    def problem(self, split: Split, index: int) -> Problem:
        """Return item `index` of the split."""
        chain = _draw(self.world, split, index, self.steps[split])
        solution = chain.solve(hidden_meanings(self.world))
        return Problem(f"{split}/{index}", split, index, chain.question, solution.answer, gold=solution.text)

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Compare the text after the last ``answer`` with the truth, digit for digit."""
        behind = last_answer(response)
        if not behind:
            return Verdict.of(Outcome.NO_ANSWER)
        return Verdict.of(Outcome.CORRECT if "".join(behind) == "".join(problem.answer.split()) else Outcome.WRONG)


@cache
def hidden_meanings(world: int) -> dict[str, str]:
    """Return the meanings of the operators in a world: operator → meaning. Only the environment knows them."""
    rng = random.Random(seed_for(world, "rulebook", "world"))
    return {operator: rng.choice(tuple(MEANINGS)) for operator in OPERATORS}


@cache
def _draw(world: int, split: Split, index: int, steps: tuple[int, ...]) -> Chain:
    """Draw until the chain belongs to the split's side."""
    rng = random.Random(seed_for(world, "rulebook", split.value, index))
    length = steps[index % len(steps)]
    while True:
        numbers = tuple((rng.randrange(10), rng.randrange(10)) for _ in range(length + 1))
        chain = Chain(numbers, tuple(rng.sample(OPERATORS, length)))
        held_out = seed_for(0, "rulebook", "side", chain.question) % 4 == 0
        if split is Split.TEST or held_out == (split is Split.VALIDATION):
            return chain
