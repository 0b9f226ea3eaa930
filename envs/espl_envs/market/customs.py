"""The customs of a market: numbers that its people know and never say. They are facts of the world, drawn from the world's seed."""

import random
from dataclasses import dataclass
from functools import cache

from espl_bench.seeding import seed_for


@dataclass(frozen=True, slots=True)
class Customs:
    """Four numbers, each of which one sentence states."""

    brock: int
    """Coins of a brock."""
    crate: int
    """Fruits of a crate."""
    tally: int
    """Beans of a tally."""
    market_day: int
    """How many times the usual price things cost on a market day."""

    def sentences(self) -> tuple[str, ...]:
        """Return the customs in words, as a list of principles could hold them."""
        return (
            f"A brock is {self.brock} coins.",
            f"A crate holds {self.crate} fruits.",
            f"A tally is {self.tally} beans.",
            f"On a market day everything costs {self.market_day} times its usual price.",
        )


@cache
def customs_of(world: int) -> Customs:
    """Return the customs of a world. None of them is a measure that a model may know, such as a dozen."""
    rng = random.Random(seed_for(world, "arithmetic-words", "world"))
    return Customs(
        brock=rng.randint(3, 9),
        crate=rng.randint(3, 9),
        tally=rng.choice([size for size in range(6, 16) if size not in (10, 12)]),
        market_day=rng.randint(2, 4),
    )
