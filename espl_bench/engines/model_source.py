"""Where a run's models come from: the policy's, and the editor's if that is another."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from espl_bench.engines.engine_spec import find_engine

TINY_BYTES = 20_000_000
"""Weights below this are computed faster on a CPU than on a GPU, whose time goes into starting kernels.

Measured on the lab model (2.8 MB): ten iterations of espl on rulebook took 43 s on an H200 and 7.5 s on two CPU cores.
"""


def is_tiny(model: str) -> bool:
    """Tell whether a model's folder here holds less than `TINY_BYTES` of weights. A hub id never does."""
    sizes = [path.stat().st_size for path in Path(model).glob("*.safetensors")]
    return bool(sizes) and sum(sizes) < TINY_BYTES


def fastest_engine(model: str | None) -> str:
    """Return vllm if it is installed, CUDA is available and the model is not tiny, else hf.

    Imports torch only where vLLM is installed.

    Args:
        model: a folder or a hub id; None: the default of this machine, which is not tiny.
    """
    if find_spec("vllm") is None or (model is not None and is_tiny(model)):
        return "hf"
    import torch  # only asked where vLLM could serve

    return "vllm" if torch.cuda.is_available() else "hf"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model and the engine that serves it."""

    engine: str
    model: str
    base_url: str | None = None
    api_key_env: str | None = None

    @property
    def is_endpoint(self) -> bool:
        """True if it is served over the network and may cost money."""
        return find_engine(self.engine).location == "endpoint"

    @property
    def is_service(self) -> bool:
        """True if a Tinker service samples and trains it."""
        return find_engine(self.engine).location == "service"

    @property
    def is_remote(self) -> bool:
        """True if it runs elsewhere, at an address and with a key."""
        return self.is_endpoint or self.is_service
