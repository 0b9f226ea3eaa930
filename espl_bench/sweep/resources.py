"""Resources that a cell occupies while it runs, and a check whether a cluster has them.

A cell is on one node, as one bundle, and everything in it is visible to the run: vLLM's own processes share its devices. Only
a cell that asks for vLLM's Ray executor may span several: it becomes bundles of one device each, packed, the form in which that
executor takes over a placement group. The run itself, with the trainer, is in the first of them, and shares its device with the
vLLM worker placed there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

CPU = "CPU"
GPU = "GPU"
SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
"""Options that spread a model over devices."""
EXECUTOR = "distributed_executor_backend"
"""Option that selects how the workers on them are started."""
SHARE = 0.5
"""Share of its device that Ray counts for the run itself, and for every worker of vLLM's Ray executor."""

Bundle = dict[str, float]
"""Resource → amount required of one node."""


class Resources(BaseModel):
    """Resources of one cell."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cpus: float = Field(default=1, gt=0)
    """Cores. The run computes with as many threads, rounded down, at least one."""
    gpus: float = Field(default=0, ge=0)
    """Devices: below 1 a share of one, above a whole number."""
    tensor: int = Field(default=1, ge=1)
    """Devices of a tensor-parallel group, which must be on one node."""
    over_nodes: bool = False
    """True if vLLM's Ray executor places its workers, so that they may be on several nodes."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.gpus > 1 and not float(self.gpus).is_integer():
            raise ValueError(f"gpus above 1 are whole, not {self.gpus:g}")
        if self.tensor > 1 and self.gpus < self.tensor:
            raise ValueError(f"gpus {self.gpus:g} are fewer than the {self.tensor} of a tensor-parallel group")
        return self

    @property
    def threads(self) -> int:
        """Threads of computing libraries."""
        return max(1, int(self.cpus))

    @property
    def whole(self) -> Bundle:
        """Bundle of all resources on one node."""
        return {CPU: self.cpus, **({GPU: self.gpus} if self.gpus else {})}

    @property
    def own_share(self) -> float:
        """Devices that the run's own process takes: all, unless Ray places the workers."""
        return SHARE if self.over_nodes else self.gpus

    def needs_group(self) -> bool:
        """Return True if it needs a placement group, because several devices must be available at once."""
        return self.gpus > 1

    def bundles(self) -> list[Bundle]:
        """Return the placement group, with the run itself in the first bundle: everything on one node, or one bundle per device."""
        if not self.over_nodes:
            return [self.whole]
        return [{CPU: self.cpus, GPU: 1.0}, *({GPU: 1.0} for _ in range(int(self.gpus) - 1))]

    def lacking(self, nodes: Sequence[Mapping[str, float]]) -> str | None:
        """Explain in one line why it can never be placed on these nodes; None if it can."""
        if self._fits_one(nodes):
            return None
        cores, devices = (max((node.get(name, 0.0) for node in nodes), default=0.0) for name in (CPU, GPU))
        if self.cpus > cores:
            return f"it takes {self.cpus:g} cores, and the largest node has {cores:g}"
        if self.tensor > devices:
            return f"a tensor-parallel group takes {self.tensor} GPUs of one node, and the largest has {devices:g}"
        total = sum(node.get(GPU, 0.0) for node in nodes)
        if self.gpus > total:
            return f"it takes {self.gpus:g} GPUs, and the cluster has {total:g}"
        if self.over_nodes and any(node.get(CPU, 0.0) >= self.cpus and node.get(GPU, 0.0) >= 1 for node in nodes):
            return None
        remedy = f"; {EXECUTOR} = ray spreads vLLM over several" if self.gpus > devices else ""
        return f"it takes {self.cpus:g} cores and {self.gpus:g} GPUs of one node, and no node has both{remedy}"

    def _fits_one(self, nodes: Sequence[Mapping[str, float]]) -> bool:
        return any(all(node.get(name, 0.0) >= amount for name, amount in self.whole.items()) for node in nodes)


def read_resources(stated: Mapping[str, Any], options: Mapping[str, Any]) -> Resources:
    """Read resources as stated in a grid, completed by a cell's options about devices.

    Raises ValueError (or pydantic's) for invalid amounts, for sizes whose product exceeds the stated devices, and for replicas that
    Ray would have to place: vLLM makes placement groups of its own for them, outside of the cell's.
    """
    tensor, pipeline, data = (int(options.get(name, 1)) for name in SIZES)
    product = tensor * pipeline * data
    over_nodes = options.get(EXECUTOR) == "ray" and product > 1
    if over_nodes and data > 1:
        raise ValueError(
            f"data_parallel_size {data}: a sweep keeps replicas on one node; use pipeline stages, or leave {EXECUTOR} = ray out"
        )
    given = {**stated, "tensor": tensor, "over_nodes": over_nodes}
    if product > 1:
        given.setdefault("gpus", product)
        if given["gpus"] < product:
            raise ValueError(f"gpus {given['gpus']:g} are fewer than {' x '.join(SIZES)} = {product}")
    return Resources.model_validate(given)
