"""What the comparisons of values by kind ask of one another: how strict to be, and to compare the parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from espl_bench.grading.readings import Reading

MOST_ITEMS: Final = 200
"""Items of a list without order; a longer one is not compared, which would take quadratic time."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What may differ."""

    places: int = 6
    """Decimals from which on a decimal answers an exact number."""
    strict: bool = True
    """A set is not a tuple, and the names of variables count."""
    relations_for_sets: bool = True
    """An inequality answers a gold set."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares the parts of values."""

    allowed: Tolerance
    compare: Callable[[Reading, Reading, Tolerance], bool]

    def same(self, gold: Reading, answer: Reading) -> bool:
        """Return True if an answer, or a part of it, is the gold one."""
        return self.compare(gold, answer, self.allowed)

    def ordered(self, gold: Sequence[Reading], answer: Sequence[Reading]) -> bool:
        """Compare item by item."""
        return len(gold) == len(answer) and all(self.same(left, right) for left, right in zip(gold, answer, strict=True))

    def unordered(self, gold: Sequence[Reading], answer: Sequence[Reading]) -> bool:
        """Compare as multisets: every item of one side has a partner of its own."""
        if len(gold) != len(answer) or len(gold) > MOST_ITEMS:
            return False
        left = list(answer)
        for item in gold:
            place = next((n for n, other in enumerate(left) if self.same(item, other)), None)
            if place is None:
                return False
            del left[place]
        return True
