"""The model of a run that names none, in an environment that ships none: a real chat model that this machine can train."""

from dataclasses import dataclass
from functools import cache

from espl_bench.engines.machine_fit import examine, fits

CPU_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Small enough for two cores; 270 MB."""


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """A hub id, and why it was chosen."""

    model: str
    reason: str


@cache
def default_model() -> DefaultModel:
    """Return the largest model of `machine_fit.SIZES` that one device can train, else the smallest; on a CPU `CPU_MODEL`.

    Loads torch.
    """
    machine = examine()
    if machine.device.kind == "cpu":
        return DefaultModel(CPU_MODEL, "the default on a CPU")
    results = fits(machine)
    best = next((fit for fit in reversed(results) if fit.trains), None)
    if best is None:
        return DefaultModel(results[0].size.example, f"the smallest default; {machine.device.name} may have too little memory for it")
    return DefaultModel(best.size.example, f"the largest default that {machine.device.name} can train")
