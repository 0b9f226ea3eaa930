"""Items of the sets: drawn once for all instances, in splits that share no question.

Item i of a set with seed s is drawn by ``Random(s + i)``. So the seeds of two splits must be further apart than the items that are drawn of
either: seeds 0 and 1 would give the same items, shifted by one.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from espl_bench.errors import UsageError, first_line, unknown
from espl_bench.types import Problem, Split
from espl_envs.reasoning_gym.sets import FAMILY, joined

APART: Final = 1_000_000
"""Between the seeds of two splits."""
MOST_SEED: Final = 1_000
"""Largest seed of an environment. Seeds of sets must stay below 2 ** 32, which numpy takes."""
ORDER: Final = (Split.TEST, Split.VALIDATION, Split.TRAIN)
"""A question that two splits draw belongs to the first of them, so that the test does not depend on the size of the others."""
TRIES: Final = 8
"""Draws for each item that is asked for, after which the set is taken to have no more questions."""
MOST_ITEMS: Final = APART // TRIES
OWN: Final = ("seed", "size")
"""Parameters of a set that the splits decide."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which items an environment serves."""

    sets: tuple[str, ...]
    parameters: str
    """JSON of the parameters, by set."""
    sizes: tuple[tuple[Split, int], ...]
    seed: int

    def of(self, name: str) -> Mapping[str, Any]:
        """Return the parameters of a set."""
        return json.loads(self.parameters).get(name, {})


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a set."""

    set: str
    entry: Mapping[str, Any]
    """As the set made it, in JSON."""

    @property
    def question(self) -> str:
        """What is asked."""
        return self.entry["question"]

    def problem(self, split: Split, index: int) -> Problem:
        """Convert to the harness's problem."""
        answer = self.entry["answer"]
        gold = "" if answer is None else f"<answer>{answer}</answer>"
        return Problem(f"{split}/{self.set}/{index}", split, index, self.question, "" if answer is None else str(answer), gold)


@lru_cache(maxsize=8)
def draw(wanted: Wanted) -> Mapping[Split, tuple[Item, ...]]:
    """Draw the items of all splits, those of several sets in turn.

    Raises UsageError for parameters that a set does not take, and for more items than a set has questions.
    """
    seen: set[str] = set()
    sizes = dict(wanted.sizes)
    drawn: dict[Split, tuple[Item, ...]] = {}
    for split in ORDER:
        shares = [len(range(place, sizes[split], len(wanted.sets))) for place in range(len(wanted.sets))]
        by_set = [_unseen(wanted, name, split, share, seen) for name, share in zip(wanted.sets, shares, strict=True)]
        drawn[split] = tuple(by_set[index % len(by_set)][index // len(by_set)] for index in range(sizes[split]))
    return drawn


def _unseen(wanted: Wanted, name: str, split: Split, size: int, seen: set[str]) -> list[Item]:
    """Draw items whose questions were not drawn before, and note these."""
    found: list[Item] = []
    for item in islice(_candidates(wanted, name, split, size), TRIES * size):
        said = " ".join(item.question.casefold().split())
        if said not in seen:
            seen.add(said)
            found.append(item)
        if len(found) == size:
            return found
    raise UsageError(
        f"{FAMILY}:{joined(wanted.sets)} finds only {len(found)} of {size} different questions of {name} for {split}; "
        f"lower {split}_items, or set its parameters to something harder"
    )


def _candidates(wanted: Wanted, name: str, split: Split, size: int) -> Iterator[Item]:
    """Yield items without end: some sets make all of theirs at once, so each is asked for as many as are needed."""
    seed = (wanted.seed * len(Split) + tuple(Split).index(split)) * APART
    while True:
        made = _make_set(name, seed, size, wanted.of(name))
        yield from (Item(name, json.loads(json.dumps(made[index], default=_number))) for index in range(size))
        seed += size


def _make_set(name: str, seed: int, size: int, parameters: Mapping[str, Any]) -> Any:
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    known = [field for field in DATASETS[name][1].__dataclass_fields__ if field not in OWN]
    for parameter in parameters:
        if parameter not in known:
            raise unknown(f"parameter of {FAMILY}:{name}", parameter, known)
    try:
        return reasoning_gym.create_dataset(name, seed=seed, size=size, **parameters)
    except (AssertionError, TypeError, ValueError) as error:
        raise UsageError(f"{FAMILY}:{name} does not take its parameters: {first_line(error)}") from error


def _number(value: Any) -> Any:
    """Return a number of numpy as Python's. Raises TypeError for anything else that JSON cannot hold."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a {type(value).__name__} is not JSON")
