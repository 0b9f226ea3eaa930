"""Turn stored sets into the splits of an environment: the published selection, and the held-out slice of the training set.

Nothing here depends on a run's seed: the problems of each split are part of the environment.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

from espl_bench.data.item_text import Item, identity_of, match_key
from espl_bench.errors import UsageError
from espl_bench.seeding import seed_for
from espl_bench.types import Problem, Split
from espl_bench.utils.numbers import is_whole


@dataclass(frozen=True, slots=True)
class Selection:
    """A published choice of training problems: shuffle the distinct problems of a set with a fixed seed, take the first ones."""

    seed: int
    count: int

    def of(self, rows: Sequence["MathRow"]) -> list["MathRow"]:
        """Return the chosen rows, in the shuffled order; of a smaller set, all."""
        shuffled = list(rows)
        random.Random(self.seed).shuffle(shuffled)
        return shuffled[: self.count]


@dataclass(frozen=True, slots=True)
class MathRow:
    """An item and the set it comes from."""

    source: str
    item: Item

    @property
    def id(self) -> str:
        """Unique id within an environment: ``aime-2022-2024/17``."""
        return f"{self.source}/{self.item.row}"

    def problem(self, split: Split, index: int) -> Problem:
        """Convert to the harness's problem."""
        answer = self.item.answer
        return Problem(self.id, split, index, self.item.problem, answer, gold=f"The answer is $\\boxed{{{answer}}}$.")


@dataclass(frozen=True)
class Splits:
    """Problems that an environment serves."""

    problems: Mapping[Split, tuple[Problem, ...]]
    """Splits that have items."""

    @classmethod
    def of(cls, rows: Mapping[Split, Sequence[MathRow]]) -> "Splits":
        """Number the rows of each split that has any."""
        filled = {split: items for split in Split if (items := rows.get(split))}
        return cls({split: tuple(row.problem(split, index) for index, row in enumerate(items)) for split, items in filled.items()})

    @cached_property
    def identity(self) -> dict[str, str]:
        """Hash of each split's problems and answers in order."""
        return {
            split.value: identity_of(Item(problem.question, problem.answer, problem.index) for problem in problems)
            for split, problems in self.problems.items()
        }


class HasItem(Protocol):
    """A row of any environment."""

    @property
    def item(self) -> Item:
        """Its item."""
        ...


Row = TypeVar("Row", bound=HasItem)


def hold_out(rows: Sequence[Row], one_in: int, env: str) -> tuple[list[Row], list[Row]]:
    """Split training rows into those to train on and about one in `one_in` held out for validation; 0 holds out none.

    A hash of a problem's letters and digits decides its side, so that it is the same on every machine, in every environment that
    uses the problem, and for every copy of it. Raises UsageError if one of the sides would be empty, or for a negative number.
    """
    if not is_whole(one_in, least=0) or one_in == 1:
        raise UsageError(f"{env}: holdout takes 0 (hold out nothing) or a whole number from 2 (hold out one in so many), not {one_in!r}")
    if one_in == 0:
        return list(rows), []
    trained: list[Row] = []
    held: list[Row] = []
    for row in rows:
        side = held if seed_for(0, "math", "held out", match_key(row.item.problem)) % one_in == 0 else trained
        side.append(row)
    if not held or not trained:
        use = "validate on" if not held else "train on"
        raise UsageError(
            f"{env}: holding out one in {one_in} of {len(rows)} training problems leaves none to {use}; choose another holdout"
        )
    return trained, held
