"""Examine a model when it is opened: how it may be read, and what an adapter reaches. It works, or it is refused; it never pretends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from espl_bench.engines.hf.adapter.lora_views import share_weights
from espl_bench.engines.hf.adapter.reach import survey
from espl_bench.engines.hf.decoding.captured_step import captures_on
from espl_bench.engines.hf.reading.forward import Reading
from espl_bench.engines.hf.trial import replays, understand
from espl_bench.engines.model_use import ModelUse


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found out about a model."""

    reading: Reading
    replays: bool
    """Its decode steps may be captured and replayed; tried where there are CUDA graphs only."""
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
    tree = share_weights(model)
    reading = understand(tree, name, words)
    may_replay = captures_on(model.device) and reading is Reading.SHARED and replays(tree, words)
    reach = survey(share_weights(model), name, words, caches=reading is not Reading.REREAD)
    use = ModelUse(len(reach.targets), reach.share, reach.fixed, reading.name.lower())
    return Examination(reading, may_replay, reach.targets, use)
