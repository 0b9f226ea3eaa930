"""What an adapter reaches of a model, and what it leaves as it was. Light: it imports nothing that loads torch."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Adaptation:
    """Weights of one model, embeddings and output layer aside, by what an adapter does to them."""

    layers: int
    """Linear layers that have an adapter."""
    share: float
    """Part of the model's weights that lies in these layers, 0 to 1."""
    fixed: tuple[str, ...] = ()
    """Kinds of weights that stay as they were loaded, e.g. experts that are kept in one tensor; a number in a name is ``*``."""

    def line(self) -> str | None:
        """Say in one line what is not adapted; None if everything is."""
        if not self.fixed:
            return None
        names = ", ".join(self.fixed)
        return f"the adapter trains {self.layers} linear layers with {self.share:.0%} of the weights; not adapted: {names}"

    def facts(self) -> dict[str, Any]:
        """Return it as plain data, for provenance."""
        return asdict(self)


@runtime_checkable
class AdaptingEngine(Protocol):
    """An engine that knows what its adapter reaches. Implementing it besides `Engine` is optional."""

    @property
    def adaptation(self) -> Adaptation:
        """What the adapter reaches of the model."""
        ...
