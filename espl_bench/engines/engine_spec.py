"""What is known of an engine before it is opened: a row that a package registers under `espl_bench.engines`."""

from dataclasses import dataclass
from typing import Literal

from espl_bench.registry import ENGINES, find

Location = Literal["local", "endpoint", "service"]


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine by name."""

    name: str
    """As in `--engine`."""
    opener: str
    """``module:function`` of (ModelSource, RunConfig) → Engine. Imported when a run is opened, so that a row costs nothing."""
    trains: bool = True
    """Whether its weights can learn."""
    location: Location = "local"
    """``endpoint``: asked over HTTP, answers may cost money. ``service``: samples and trains elsewhere."""


HF = EngineSpec("hf", "espl_bench.build:open_hf")
VLLM = EngineSpec("vllm", "espl_bench.build:open_vllm")
OPENAI = EngineSpec("openai", "espl_bench.build:open_openai", trains=False, location="endpoint")
TINKER = EngineSpec("tinker", "espl_bench.build:open_tinker", location="service")


def find_engine(name: str) -> EngineSpec:
    """Return an engine's row by name. Raises UsageError with the nearest known name."""
    return find(ENGINES, name)
