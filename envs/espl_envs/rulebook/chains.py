"""Chains of two-digit numbers, worked out step by step. Shared by the environment and the small model's pre-training."""

from collections.abc import Mapping
from dataclasses import dataclass

from espl_envs.rulebook.meanings import MEANINGS

Number = tuple[int, int]
"""Two digits that are computed place by place: tens with tens, ones with ones, without carrying."""


def spell(number: Number) -> str:
    """Spell a number as ``3 8``: each digit is a word."""
    return f"{number[0]} {number[1]}"


def work_out(meaning: str, left: Number, right: Number) -> Number:
    """Return the correct result of one step."""
    rule = MEANINGS[meaning]
    return rule(left[0], right[0]), rule(left[1], right[1])


@dataclass(frozen=True, slots=True)
class Chain:
    """``3 8 dax 5 2 fep 1 0``: numbers joined by operators, worked out from left to right."""

    numbers: tuple[Number, ...]
    operators: tuple[str, ...]
    """One fewer than the numbers, each operator at most once."""

    @property
    def question(self) -> str:
        """Return the problem as text."""
        tail = " ".join(f"{operator} {spell(number)}" for operator, number in zip(self.operators, self.numbers[1:], strict=True))
        return f"{spell(self.numbers[0])} {tail} = ?"

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the operators, whose meanings one must know to work it out."""
        return self.operators

    def solve(self, meanings: Mapping[str, str]) -> "Solution":
        """Return the correct solution under the given meanings (operator → name)."""
        used = tuple(meanings[operator] for operator in self.operators)
        value, results = self.numbers[0], []
        for meaning, number in zip(used, self.numbers[1:], strict=True):
            value = work_out(meaning, value, number)
            results.append(value)
        return Solution(self, used, tuple(results))


@dataclass(frozen=True, slots=True)
class Solution:
    """A worked chain: the meaning assumed for each operator and the result written for each step, right or wrong."""

    chain: Chain
    used: tuple[str, ...]
    results: tuple[Number, ...]

    @property
    def lefts(self) -> tuple[Number, ...]:
        """Left operand of each step: the first number, then the previous result."""
        return (self.chain.numbers[0], *self.results[:-1])

    @property
    def answer(self) -> str:
        """Last result."""
        return spell(self.results[-1])

    @property
    def text(self) -> str:
        """Return the policy's text: ``dax larger 3 5 = 5 8 2 = 8 ; fep sum 5 1 = 6 8 0 = 8 ; answer 6 8``."""
        rows = zip(self.chain.operators, self.used, self.lefts, self.chain.numbers[1:], self.results, strict=True)
        steps = (
            f"{operator} {meaning} {left[0]} {right[0]} = {result[0]} {left[1]} {right[1]} = {result[1]}"
            for operator, meaning, left, right, result in rows
        )
        return f"{' ; '.join(steps)} ; answer {self.answer}"

    @property
    def summary(self) -> str:
        """Short form for the editor: ``dax larger fep sum``."""
        return " ".join(f"{operator} {meaning}" for operator, meaning in zip(self.chain.operators, self.used, strict=True))
