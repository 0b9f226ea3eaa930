"""The adapter that a local engine trains, and the defaults that `fit` plans with. Light: it imports nothing that loads torch."""

from dataclasses import dataclass

RANK = 32
"""Of an adapter, unless another is asked for."""
MICRO_BATCH = 4_096
"""Tokens of a training micro-batch on a CPU, and of the first one on a GPU, unless another number is asked for."""
PIECE = 2**25
"""Logits of a training step that are held at once: 128 MiB in float32 (`hf.training.chunked_logprobs`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSpec:
    """A fresh LoRA adapter on every linear layer that it reaches but the output layer, and how its weights are trained."""

    rank: int = RANK
    alpha: float
    """The update is scaled by ``alpha / rank``."""
    seed: int
    """Names the initial weights, the same in every local engine; the global random state is left as it was."""
    device: str | None = None
    """Where weights are trained, e.g. ``cpu`` or ``cuda:1``; None: cuda, else mps, else cpu."""
    token_budget: int | None = None
    """Tokens of a micro-batch, padding included; None: `MICRO_BATCH` on a CPU, what the free memory holds on a GPU."""
    gradient_checkpointing: bool = False
    """Train with less memory, in more time."""
    compile_layers: bool = False
    """Train in less time, after a start that takes longer."""
    quantization: str | None = None
    """How the base is held in 4 bits (``nf4``); None: in its own dtype."""
