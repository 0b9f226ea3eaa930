"""The operators' possible meanings: ten functions of two digits, and the one-line principle that states each.

The set is chosen so that two different meanings rarely agree on a pair of digits (`coincidence`), because every agreement
is a piece of misleading evidence for whoever tries to infer a meaning from results.
"""

from collections.abc import Callable, Mapping

SYMBOLS: tuple[str, ...] = ("@", "#", "$", "%", "&", "~", "^", "!")
"""The operators. What each means is a fact of the world, drawn from the world's seed."""

MEANINGS: Mapping[str, Callable[[int, int], int]] = {
    "larger": max,
    "smaller": min,
    "sum": lambda a, b: (a + b) % 10,
    "product": lambda a, b: (a * b) % 10,
    "gap": lambda a, b: abs(a - b),
    "middle": lambda a, b: (a + b) // 2,
    "opposite": lambda a, b: 9 - a,
    "double": lambda a, b: (2 * a) % 10,
    "next": lambda a, b: (b + 1) % 10,
    "blend": lambda a, b: (a + 2 * b) % 10,
}
"""Name → value of ``a op b``; names stand in principles and in solutions directly behind the operator."""

DESCRIPTIONS: Mapping[str, str] = {
    "larger": "the larger of the two digits",
    "smaller": "the smaller of the two digits",
    "sum": "the last digit of a + b",
    "product": "the last digit of a × b",
    "gap": "the distance |a − b|",
    "middle": "(a + b) / 2, rounded down",
    "opposite": "9 − a",
    "double": "the last digit of 2a",
    "next": "the digit after b (0 after 9)",
    "blend": "the last digit of a + 2b",
}


def principle(symbol: str, meaning: str) -> str:
    """The principle that states one meaning, e.g. ``@ larger digit .``."""
    return f"{symbol} {meaning} digit ."


def coincidence(first: str, second: str) -> float:
    """The share of the 100 digit pairs on which two meanings agree."""
    pairs = [(a, b) for a in range(10) for b in range(10)]
    return sum(MEANINGS[first](a, b) == MEANINGS[second](a, b) for a, b in pairs) / len(pairs)
