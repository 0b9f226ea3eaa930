"""What a cell occupies while it runs, and whether a cluster has it.

A cell on one node is one bundle, and everything in it is visible to the run: vLLM's own processes share its devices. A cell
whose pipeline stages or data replicas need more devices than any node has becomes bundles of one device each, packed, beside
a bundle of cores for the run itself: the form in which vLLM's Ray executor takes a placement group over.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

CPU = "CPU"
GPU = "GPU"
SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
"""Options of an engine that spreads a model over devices."""

Bundle = dict[str, float]
"""Resource → amount that one node must have."""


class Resources(BaseModel):
    """What one cell occupies."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cpus: float = Field(default=1, gt=0)
    """Cores. The run computes with as many threads, rounded down, at least one."""
    gpus: float = Field(default=0, ge=0)
    """Devices: below 1 a share of one, above a whole number."""
    tensor: int = Field(default=1, ge=1)
    """Devices of a tensor-parallel group, which must be on one node."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.gpus > 1 and not float(self.gpus).is_integer():
            raise ValueError(f"gpus above 1 are whole, not {self.gpus:g}")
        if self.tensor > 1 and self.gpus < self.tensor:
            raise ValueError(f"gpus {self.gpus:g} are fewer than the {self.tensor} of a tensor-parallel group")
        return self

    @property
    def threads(self) -> int:
        """Of computing libraries."""
        return max(1, int(self.cpus))

    @property
    def whole(self) -> Bundle:
        """All of it on one node."""
        return {CPU: self.cpus, **({GPU: self.gpus} if self.gpus else {})}

    def needs_group(self) -> bool:
        """Whether a placement group holds it: several devices must be there at once."""
        return self.gpus > 1

    def bundles(self, nodes: Sequence[Mapping[str, float]]) -> list[Bundle]:
        """The placement group on these nodes (resources in all, by name): one bundle if any node has room for it, else one per device."""
        if self._fits_one(nodes) or not self.needs_group():
            return [self.whole]
        return [{CPU: self.cpus}, *({GPU: 1.0} for _ in range(int(self.gpus)))]

    def lacking(self, nodes: Sequence[Mapping[str, float]]) -> str | None:
        """Why it can never be placed on these nodes, in one line; None if it can."""
        if self._fits_one(nodes):
            return None
        cores, devices = (max((node.get(name, 0.0) for node in nodes), default=0.0) for name in (CPU, GPU))
        if self.cpus > cores:
            return f"it takes {self.cpus:g} cores, and the largest node has {cores:g}"
        if self.tensor > devices:
            return f"a tensor-parallel group takes {self.tensor} GPUs of one node, and the largest has {devices:g}"
        if not self.needs_group() or self.gpus == self.tensor:
            return f"it takes {self.cpus:g} cores and {self.gpus:g} GPUs of one node, and no node has both"
        total = sum(node.get(GPU, 0.0) for node in nodes)
        return f"it takes {self.gpus:g} GPUs, and the cluster has {total:g}" if self.gpus > total else None

    def _fits_one(self, nodes: Sequence[Mapping[str, float]]) -> bool:
        return any(all(node.get(name, 0.0) >= amount for name, amount in self.whole.items()) for node in nodes)


def read_resources(stated: Mapping[str, Any], options: Mapping[str, Any]) -> Resources:
    """What a grid states, completed by the parallel sizes among a cell's options.

    Raises ValueError (pydantic's) for amounts that cannot be, and where devices are stated and the sizes multiply to more.
    """
    sizes = [int(options.get(name, 1)) for name in SIZES]
    product = sizes[0] * sizes[1] * sizes[2]
    given = {**stated, "tensor": sizes[0]}
    if product > 1:
        given.setdefault("gpus", product)
        if given["gpus"] < product:
            raise ValueError(f"gpus {given['gpus']} are fewer than {' x '.join(SIZES)} = {product}")
    return Resources.model_validate(given)
