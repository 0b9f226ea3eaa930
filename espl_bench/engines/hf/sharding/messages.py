"""What a rank and its parent say to each other, besides the names of actions. They trust each other: one started the other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espl_bench.engines.adapter_spec import AdapterSpec
from espl_bench.engines.model_use import ModelUse
from espl_bench.errors import EsplError


@dataclass(frozen=True, slots=True)
class Opening:
    """The first message to a rank."""

    model: str
    adapter: AdapterSpec
    device: str
    """Of this rank."""
    rank: int
    ranks: int
    meeting: Path
    """A file through which the ranks find each other; it is not there yet."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The answer to it: what the parent must know about the model."""

    eos_ids: frozenset[int]
    dtype: str
    use: ModelUse


@dataclass(frozen=True, slots=True)
class Answer:
    """What an action came to."""

    result: Any = None
    refusal: EsplError | None = None
