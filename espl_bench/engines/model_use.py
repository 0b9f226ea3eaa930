"""How an engine uses a model: what its adapter reaches, and how rows are read. Light: it imports nothing that loads torch."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

REREAD = "the model's cached decoding is not what reading whole is, so every token reads its rows again: slow"
_NAMED = 8
"""Kinds of weights that a line names."""


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What was found out about one model when it was opened."""

    layers: int
    """Linear layers that have an adapter."""
    share: float
    """Part of the model's weights, embeddings and output layer aside, that lies in these layers: 0 to 1."""
    fixed: tuple[str, ...]
    """Kinds of weights that stay as they were loaded, e.g. experts that are kept in one tensor, the largest first; ``*`` is a number."""
    reading: str
    """Name of the member of `hf.reading.forward.Reading` by which rows are sampled, in small letters, or ``vllm``."""

    def lines(self, *, trains: bool) -> tuple[str, ...]:
        """Say what a user should know, each in a line; nothing of a model that is adapted in full and read with a cache."""
        lines = (self.unadapted(),) if trains and self.fixed else ()
        return (*lines, REREAD) if self.reading == "reread" else lines

    def unadapted(self) -> str:
        """Say what the adapter trains, and what it does not."""
        more = len(self.fixed) - _NAMED
        names = ", ".join(self.fixed[:_NAMED]) + (f" and {more} more kinds" if more > 0 else "")
        return f"the adapter trains {self.layers} linear layers with {self.share:.0%} of the weights; not adapted: {names}"

    def facts(self) -> dict[str, Any]:
        """Return it as plain data, for provenance."""
        return asdict(self)


@runtime_checkable
class WatchingEngine(Protocol):
    """An engine that knows how it uses its model. Implementing it besides `Engine` is optional."""

    @property
    def model_use(self) -> ModelUse:
        """What was found out about the model when it was opened."""
        ...
