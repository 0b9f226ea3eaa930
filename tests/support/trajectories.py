"""Trajectories of many shapes, to train on."""

import random

from espl_bench.types import Datum


def forest(seed: int, longest: int = 300) -> list[Datum]:
    """Prompts with and without a common beginning, groups of one to four, rests of one to many tokens, and several turns."""
    rng = random.Random(seed)

    def words(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(5, 95) for _ in range(count))

    stems = [words(rng.randint(1, 200)) for _ in range(2)]
    made: list[Datum] = []
    for _ in range(6):
        prompt = rng.choice(stems) + words(rng.randint(0, 30))
        for _ in range(rng.randint(1, 4)):
            turns = [words(rng.choice((1, 2, 9, longest))), words(rng.randint(1, 5)), words(rng.randint(1, 20))]
            mask = [False] * len(prompt) + [sampled for turn, sampled in zip(turns, (True, False, True), strict=True) for _ in turn]
            said = tuple(token for turn in turns for token in turn)
            logprobs = tuple(-4.0 if sampled else 0.0 for sampled in mask)
            made.append(Datum(prompt + said, tuple(mask), logprobs, rng.uniform(-1, 1), rng.choice((1.0, 0.7))))
    return made
