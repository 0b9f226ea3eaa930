"""The operators and their possible meanings.

The meanings are chosen so that two of them rarely agree on a pair of digits, and so that none ignores its left
operand, which would make whatever stands before it in a chain right: both are misleading evidence for whoever tries to infer
a meaning from results.
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
