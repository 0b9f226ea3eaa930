"""Where a run's models come from: the policy's, and the editor's if it has its own."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

EngineName = Literal["hf", "vllm", "openai", "tinker"]
FROZEN: frozenset[EngineName] = frozenset({"openai"})
"""Engines that sample and cannot train, because the weights are not ours."""
ENDPOINT: EngineName = "openai"
"""The engine that sends requests to an endpoint."""
SERVICE: EngineName = "tinker"
"""The engine that samples and trains at a service."""


def fastest_engine() -> EngineName:
    """Return vllm if it is installed and CUDA is available, else hf. Imports torch only where vLLM is installed."""
    if find_spec("vllm") is None:
        return "hf"
    import torch  # only asked where vLLM could serve

    return "vllm" if torch.cuda.is_available() else "hf"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model and the engine that serves it."""

    engine: EngineName
    model: str
    base_url: str | None = None
    api_key_env: str | None = None

    @property
    def is_endpoint(self) -> bool:
        """True if it is served over the network and may cost money."""
        return self.engine == ENDPOINT

    @property
    def is_service(self) -> bool:
        """True if a Tinker service samples and trains it."""
        return self.engine == SERVICE

    @property
    def is_remote(self) -> bool:
        """True if it runs elsewhere, at an address and with a key."""
        return self.is_endpoint or self.is_service
