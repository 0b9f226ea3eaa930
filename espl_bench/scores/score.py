"""One score, and a file that scores are read from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

from espl_bench.errors import UsageError, unknown

Choice = TypeVar("Choice")

LETTERS: Final[Mapping[str, float]] = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "true": 1.0, "false": 0.0}
"""What inspect's scorers write for correct, incorrect, partial and no answer; and JSON's words in a table of text."""


@dataclass(frozen=True, slots=True)
class Score:
    """One sample's score."""

    test: str
    """What was asked: a task, a benchmark, an environment."""
    method: str
    """What answered: a model, a method, a row of the table."""
    run: str
    """Training seed, or the number of the run; runs of two methods with the same name are paired."""
    item: str
    value: float | None
    """None: it failed, and says nothing."""
    sample: str = ""
    """Which of an item's samples; empty: the next one, in order."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file as the user named it."""

    path: Path
    method: str | None = None
    """Row that its scores belong to; None: as the file says."""
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of a file's scores and columns are meant."""

    metrics: tuple[str, ...] = ()
    """Names of scores; of a file the first that it has. Empty: the only one."""
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    """Role of a column → its name in a table."""


def choose(there: Mapping[str, Choice], selection: Selection, path: Path, fits: Callable[[str, str], bool] = str.__eq__) -> Choice:
    """Return the score that is meant, of those that a file has by name.

    Raises UsageError if there are several and none is named, or two that a name fits, or none of that name.
    """
    for wanted in selection.metrics:
        if fitting := [name for name in there if fits(name, wanted)]:
            break
    else:
        if selection.metrics:
            raise unknown(f"score of {path.name}", selection.metrics[0], there)
        fitting = list(there)
    if len(fitting) > 1:
        raise UsageError(f"{path} has several scores: {', '.join(fitting)}; name one with --metric")
    return there[fitting[0]]


def number(value: object) -> float | None:
    """Read a score: a finite number, a truth value, or a letter of `LETTERS`; None for anything else."""
    if isinstance(value, bool | int | float | Decimal):
        read = float(value)
    elif isinstance(value, str) and value.strip() in LETTERS:
        read = LETTERS[value.strip()]
    elif isinstance(value, str) and value.strip().casefold() in LETTERS:
        read = LETTERS[value.strip().casefold()]
    else:
        try:
            read = float(value) if isinstance(value, str) else math.nan
        except ValueError:
            return None
    return read if math.isfinite(read) else None
