"""Chains of digits and how one is worked out, step by step. Shared by the environment and the small model's pre-training."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from espl_envs.rulebook.meanings import MEANINGS


@dataclass(frozen=True, slots=True)
class Chain:
    """``3 @ 5 # 2``: digits joined by operators, worked out from left to right."""

    digits: tuple[int, ...]
    symbols: tuple[str, ...]
    """One fewer than the digits, each operator at most once."""

    @property
    def question(self) -> str:
        """The problem as text."""
        tail = " ".join(f"{symbol} {digit}" for symbol, digit in zip(self.symbols, self.digits[1:], strict=True))
        return f"{self.digits[0]} {tail} = ?"

    def solve(self, meanings: Mapping[str, str]) -> "Solution":
        """The faultless solution under the given meanings (symbol → name)."""
        used = tuple(meanings[symbol] for symbol in self.symbols)
        value, results = self.digits[0], []
        for meaning, digit in zip(used, self.digits[1:], strict=True):
            value = MEANINGS[meaning](value, digit)
            results.append(value)
        return Solution(self, used, tuple(results))


@dataclass(frozen=True, slots=True)
class Solution:
    """A worked chain: the meaning believed of each operator and the result written for each step, right or wrong."""

    chain: Chain
    used: tuple[str, ...]
    results: tuple[int, ...]

    @property
    def answer(self) -> int:
        """The last result."""
        return self.results[-1]

    @property
    def text(self) -> str:
        """How the policy writes it: ``@ larger 3 5 = 5 ; # sum 5 2 = 7 ; answer 7``."""
        lefts = (self.chain.digits[0], *self.results)
        rows = zip(self.chain.symbols, self.used, lefts, self.chain.digits[1:], self.results, strict=False)
        steps = " ; ".join(f"{symbol} {meaning} {left} {right} = {result}" for symbol, meaning, left, right, result in rows)
        return f"{steps} ; answer {self.answer}"

    @property
    def summary(self) -> str:
        """The short form the editor works with: ``@ larger 5 # sum 7``."""
        rows = zip(self.chain.symbols, self.used, self.results, strict=True)
        return " ".join(f"{symbol} {meaning} {result}" for symbol, meaning, result in rows)

    @property
    def clean(self) -> bool:
        """Whether every result is what the believed meaning gives, so that the answer really speaks for the meanings."""
        lefts = (self.chain.digits[0], *self.results)
        return all(
            MEANINGS[meaning](left, right) == result
            for meaning, (left, result), right in zip(self.used, pairwise(lefts), self.chain.digits[1:], strict=True)
        )
