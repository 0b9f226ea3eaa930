"""The operators and their possible meanings.

The meanings are chosen so that two of them rarely agree on a pair of digits (`coincidence`), and so that none ignores its left
operand, which would make everything before it in a chain right: both would mislead anyone who infers a meaning from results.
"""

from collections.abc import Callable, Mapping

OPERATORS: tuple[str, ...] = (
    "dax", "wug", "fep", "zup", "blick", "tig", "lorp", "mib", "nef", "quix", "rab", "sarn",
    "tov", "vim", "yad", "keb", "jum", "hax", "pim", "gorp", "zib", "cren", "lub", "skiv",
)  # fmt: skip
"""Words without a meaning of their own. Their meanings are facts of the world, drawn from the world's seed."""

MEANINGS: Mapping[str, Callable[[int, int], int]] = {
    "larger": max,
    "smaller": min,
    "sum": lambda a, b: (a + b) % 10,
    "minus": lambda a, b: (a - b) % 10,
    "blend": lambda a, b: (a + 2 * b) % 10,
    "reverse": lambda a, b: (b - a) % 10,
    "double": lambda a, b: (2 * a) % 10,
    "triple": lambda a, b: (3 * a) % 10,
    "opposite": lambda a, b: 9 - a,
    "next": lambda a, b: (a + 1) % 10,
}
"""Name → digit that ``a op b`` gives; in principles and solutions, names come directly after the operator."""

DESCRIPTIONS: Mapping[str, str] = {
    "larger": "the larger of the two digits",
    "smaller": "the smaller of the two digits",
    "sum": "the last digit of a + b",
    "minus": "a − b, or a − b + 10 where that is below 0",
    "blend": "the last digit of a + 2b",
    "reverse": "b − a, or b − a + 10 where that is below 0",
    "double": "the last digit of 2a",
    "triple": "the last digit of 3a",
    "opposite": "9 − a",
    "next": "the digit after a (0 after 9)",
}


def coincidence(first: str, second: str) -> float:
    """Return the share of the 100 pairs of digits on which two meanings agree; for two places, it is squared."""
    pairs = [(a, b) for a in range(10) for b in range(10)]
    return sum(MEANINGS[first](a, b) == MEANINGS[second](a, b) for a, b in pairs) / len(pairs)
