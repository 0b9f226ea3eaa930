"""Examine a model when it is opened: how it may be read, and what an adapter reaches. It works, or it is refused; it never pretends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from espl_bench.engines.hf.forward import Reading
from espl_bench.engines.hf.lora_views import share_weights
from espl_bench.engines.hf.reach import survey
from espl_bench.engines.hf.trial import understand
from espl_bench.engines.model_use import ModelUse


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found out about a model."""

    reading: Reading
    targets: tuple[str, ...]
    """Full names of the linear layers to adapt."""
    use: ModelUse


def examine(model: Any, name: str, words: Sequence[int]) -> Examination:
    """Have a model read a few tokens. It stays as it was.

    Args:
        model: a causal LM in eval mode, without an adapter.
        name: for messages.
        words: some ordinary ids of its tokenizer.

    Raises:
        ModelError: it cannot be sampled, or not be adapted.
    """
    reading = understand(share_weights(model), name, words)
    reach = survey(share_weights(model), name, words, caches=reading is not Reading.REREAD)
    use = ModelUse(len(reach.targets), reach.share, reach.fixed, reading.name.lower())
    return Examination(reading, reach.targets, use)
