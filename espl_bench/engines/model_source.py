"""Where a run's models come from: the policy's, and the editor's if that is another."""

from dataclasses import dataclass
from importlib.util import find_spec

from espl_bench.engines.engine_spec import find_engine


def fastest_engine() -> str:
    """Return vllm if it is installed and CUDA is available, else hf. Imports torch only where vLLM is installed."""
    if find_spec("vllm") is None:
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
