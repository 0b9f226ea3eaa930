"""Arithmetic in words: everyday problems of a market whose customs are hidden."""

import random
from functools import cache
from typing import ClassVar

from espl_bench.environment.text_env import SingleTurnEnv, Verdict
from espl_bench.errors import UsageError
from espl_bench.grading.grader import grade
from espl_bench.grading.rules import Extraction, rules_of
from espl_bench.seeding import seed_for
from espl_bench.types import Problem, Split
from espl_bench.utils.numbers import is_whole
from espl_envs.market.customs import customs_of
from espl_envs.market.stories import LEVELS, Story


class MarketEnv(SingleTurnEnv):
    """Word problems in plain English that a chat model can read and work out, but for four numbers that it cannot know.

    Description:
        "Mira has 3 brocks and 4 coins. How many coins is that in all?" has the answer 25 where a brock is 7 coins. A world gives a brock
        its coins, a crate its fruits, a tally its beans, and market days their prices. Four sentences hold all of it.

    Action space:
        Text. The answer is the last number, in a box or not: small models seldom draw one. `extraction` may ask for it.

    Observation space:
        Text: the problem.

    Rewards:
        1 if the answer is right, else 0.

    Episode end:
        Terminated after one response.

    Splits:
        train 256 and validation 64 items: a quarter needs no custom, half of them one, a quarter two; test 100 items: a quarter each
        needs none, one, two and three. Item i is a pure function of (world, split, i). No question occurs in two splits: each belongs
        to one by its hash.

    Arguments:
        world: Seed of the customs; every number is another world.
        extraction: Where the answer is: ``anywhere`` (default), ``boxed``, ``boxed_or_answer_line`` or ``answer_line``.

    Version history:
        v0: first version.
    """

    sizes: ClassVar[dict[Split, int]] = {Split.TRAIN: 256, Split.VALIDATION: 64, Split.TEST: 100}
    levels: ClassVar[dict[Split, tuple[int, ...]]] = {Split.TRAIN: (0, 1, 1, 2), Split.VALIDATION: (0, 1, 1, 2), Split.TEST: (0, 1, 2, 3)}

    def __init__(self, world: int = 0, extraction: str = Extraction.ANYWHERE) -> None:
        """Raise UsageError unless `world` is a whole number from 0 and `extraction` is known."""
        super().__init__()
        if not is_whole(world, least=0):
            raise UsageError(f"arithmetic-words: world must be a whole number from 0, not {world!r}")
        self.world = world
        self.rules = rules_of(extraction)

    def size(self, split: Split) -> int:
        """Return 256, 64 or 100."""
        return self.sizes[split]

    def problem(self, split: Split, index: int) -> Problem:
        """Return item `index` of the split."""
        story = _draw(self.world, split, index, self.levels[split])
        return Problem(
            f"{split}/{index}",
            split,
            index,
            story.question,
            str(story.answer),
            gold=f"{story.working} The answer is \\boxed{{{story.answer}}}.",
        )

    def grade(self, problem: Problem, response: str) -> Verdict:
        """Compare the number in the answer with the truth."""
        return Verdict.of(grade(problem.answer, response, self.rules).outcome)


@cache
def _draw(world: int, split: Split, index: int, levels: tuple[int, ...]) -> Story:
    """Draw until the question belongs to the split and its answer is no digit, which any number in a text could be."""
    rng = random.Random(seed_for(world, "arithmetic-words", split.value, index))
    kinds = LEVELS[levels[index % len(levels)]]
    while True:
        story = rng.choice(kinds)(rng, customs_of(world))
        if story.answer > 9 and _owner(story.question) is split:
            return story


def _owner(question: str) -> Split:
    """Return the split that a question belongs to: train half of them, the others a quarter each."""
    return (Split.TRAIN, Split.TRAIN, Split.VALIDATION, Split.TEST)[seed_for(0, "arithmetic-words", "side", question) % 4]
