"""Arithmetic in words: everyday problems of a market whose customs are hidden."""

import random
from functools import cache
from typing import ClassVar

from espl_bench.environment.text_env import SingleTurnEnv, Verdict
from espl_bench.errors import UsageError
from espl_bench.grading.grader import grade
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
        Text. The answer is in the last box, or stands at the end, as `espl_bench.grading` reads it.

    Observation space:
        Text: the problem.

    Rewards:
        1 if the answer is right, else 0.

    Episode end:
        Terminated after one response.

    Splits:
        train 256 and validation 64 items, two thirds of one custom and a third of two; test 100 items, half of two customs and half of
        three. Item i is a pure function of (world, split, i). No question occurs in two splits: each belongs to one by its hash.

    Arguments:
        world: Seed of the customs; every number is another world.

    Version history:
        v0: first version.
    """

    sizes: ClassVar[dict[Split, int]] = {Split.TRAIN: 256, Split.VALIDATION: 64, Split.TEST: 100}
    levels: ClassVar[dict[Split, tuple[int, ...]]] = {Split.TRAIN: (1, 1, 2), Split.VALIDATION: (1, 1, 2), Split.TEST: (2, 3)}

    def __init__(self, world: int = 0) -> None:
        """Raise UsageError unless `world` is a whole number from 0."""
        super().__init__()
        if not is_whole(world, least=0):
            raise UsageError(f"arithmetic-words: world must be a whole number from 0, not {world!r}")
        self.world = world

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
        return Verdict.of(grade(problem.answer, response).outcome)


@cache
def _draw(world: int, split: Split, index: int, levels: tuple[int, ...]) -> Story:
    """Draw until the question belongs to the split."""
    rng = random.Random(seed_for(world, "arithmetic-words", split.value, index))
    kinds = LEVELS[levels[index % len(levels)]]
    while True:
        story = rng.choice(kinds)(rng, customs_of(world))
        if _owner(story.question) is split:
            return story


def _owner(question: str) -> Split:
    """Return the split that a question belongs to: train half of them, the others a quarter each."""
    return (Split.TRAIN, Split.TRAIN, Split.VALIDATION, Split.TEST)[seed_for(0, "arithmetic-words", "side", question) % 4]
