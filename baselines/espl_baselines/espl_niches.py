"""E-SPL in whose window prompts that share a parent compete for one place (the paper names niching as future work).

The best prompt of a step is always the one that breeds, so the window soon holds its children alone, which differ in a line or two.
Here only one child of each parent may be selected, the one with the highest mu + 2 sigma, besides the newest prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from espl_bench.evolution.history import History
from espl_bench.evolution.rating import optimistic
from espl_bench.evolution.selection import TOP_PLUS_RANDOM, WIDTH
from espl_bench.method import ESPL
from espl_bench.types import SystemPrompt


@dataclass(frozen=True, slots=True)
class Niches:
    """E-SPL's selector over a window with one prompt per parent. Siblings fill up places that are left."""

    def select(
        self, window: Sequence[SystemPrompt], history: History, num_prompts: int, rng: np.random.Generator
    ) -> tuple[SystemPrompt, ...]:
        """Return the top prompt and others uniformly, siblings last."""
        if len(window) <= num_prompts:
            return TOP_PLUS_RANDOM.select(window, history, num_prompts, rng)
        ranked = sorted(window, key=lambda prompt: (-optimistic(prompt.rating, WIDTH), prompt.id))
        heads = tuple({parent_of(prompt): prompt for prompt in reversed(ranked)}.values())
        newest = max(window, key=lambda prompt: prompt.id)
        order = sorted(ranked, key=lambda prompt: prompt is not newest and prompt not in heads)
        places = max(num_prompts, len({newest.id, *(prompt.id for prompt in heads)}))
        kept = {prompt.id for prompt in order[:places]}
        return TOP_PLUS_RANDOM.select([prompt for prompt in window if prompt.id in kept], history, num_prompts, rng)


def parent_of(prompt: SystemPrompt) -> int | None:
    """Return the id of a prompt's first parent; None of the root."""
    return next(iter(prompt.lineage.parent_ids), None)


NICHES: Final = Niches()
ESPL_NICHES = ESPL.varied(
    name="espl_niches",
    summary="E-SPL in whose window prompts that share a parent compete for one place",
    selector="niches",
)
