"""From stored sets to the splits of an environment: the published selection, and the held-out slice of the training set.

Nothing here draws with a run's seed: which problems are trained on, validated on and tested on is part of the environment.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from espl_bench.data.text import Item, identity_of, match_key
from espl_bench.errors import UsageError
from espl_bench.seeding import seed_for
from espl_bench.types import Problem, Split
from espl_bench.utils.numbers import is_whole


@dataclass(frozen=True, slots=True)
class Selection:
    """A published choice of training problems: shuffle the distinct problems of a set with a fixed seed, take the first ones."""

    seed: int
    count: int

    def of(self, rows: Sequence["Row"]) -> list["Row"]:
        """The chosen ones, in the shuffled order; of a smaller set, all."""
        shuffled = list(rows)
        random.Random(self.seed).shuffle(shuffled)
        return shuffled[: self.count]


@dataclass(frozen=True, slots=True)
class Row:
    """An item and the set it comes from."""

    source: str
    item: Item

    @property
    def id(self) -> str:
        """Unique within an environment: ``aime-2022-2024/17``."""
        return f"{self.source}/{self.item.row}"

    def problem(self, split: Split, index: int) -> Problem:
        """As the harness knows it."""
        answer = self.item.answer
        return Problem(self.id, split, index, self.item.problem, answer, gold=f"The answer is $\\boxed{{{answer}}}$.")


@dataclass(frozen=True)
class Splits:
    """What an environment serves."""

    problems: Mapping[Split, tuple[Problem, ...]]
    """The splits that have items."""

    @classmethod
    def of(cls, rows: Mapping[Split, Sequence[Row]]) -> "Splits":
        """Number the rows of each split that has any."""
        filled = {split: each for split in Split if (each := rows.get(split))}
        return cls({split: tuple(row.problem(split, index) for index, row in enumerate(each)) for split, each in filled.items()})

    @cached_property
    def identity(self) -> dict[str, str]:
        """Split → hash of its problems and answers in order."""
        return {
            split.value: identity_of(Item(problem.question, problem.answer, problem.index) for problem in each)
            for split, each in self.problems.items()
        }

    @cached_property
    def characters(self) -> frozenset[str]:
        """Every character that a question has."""
        return frozenset().union(*(problem.question for each in self.problems.values() for problem in each))


def hold_out(rows: Sequence[Row], one_in: int, env: str) -> tuple[list[Row], list[Row]]:
    """Training rows and the slice of them that is held out for validation, about one in `one_in` of them; 0 holds out none.

    A problem's side is decided by a hash of its letters and digits: it is the same on every machine, in every environment that
    uses the problem, and for every copy of it. Raises UsageError if one of the sides would be empty, or for a negative number.
    """
    if not is_whole(one_in, least=0) or one_in == 1:
        raise UsageError(f"{env}: holdout takes 0 (hold out nothing) or a whole number from 2 (hold out one in so many), not {one_in!r}")
    if one_in == 0:
        return list(rows), []
    held = [row for row in rows if seed_for(0, "math", "held out", match_key(row.item.problem)) % one_in == 0]
    kept = [row for row in rows if row not in held]
    if not held or not kept:
        side = "validate on" if not held else "train on"
        raise UsageError(
            f"{env}: holding out one in {one_in} of {len(rows)} training problems leaves none to {side}; choose another holdout"
        )
    return kept, held
