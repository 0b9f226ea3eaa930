"""Staged learning: the prompt first and then the weights, or the weights first and then the prompt.

After BetterTogether (arXiv 2407.10930) and its form for GRPO, mmGRPO (arXiv 2508.04660). What they say of stages, and what differs here,
is in docs/rivals.md. Each stage has half of the iterations, so half of the one budget of rollouts.
"""

from dataclasses import replace
from typing import Final

from espl_bench.evolution.schedule import Halves, Progress, Prompts, weights_then_words, words_then_weights
from espl_bench.method import Method


def prompt_then_weights(progress: Progress, period: int) -> Halves:
    """Breed prompts in the first half of the iterations; in the second train the weights under the best prompt alone."""
    halves = words_then_weights(progress, period)
    return replace(halves, prompts=Prompts.EVOLVED) if halves.weights else halves


def weights_then_prompt(progress: Progress, period: int) -> Halves:
    """Train the weights under the root prompt in the first half of the iterations; in the second breed prompts for them."""
    return weights_then_words(progress, period)  # until the first child there is no prompt but the root


PROMPT_THEN_WEIGHTS: Final = Method(
    name="prompt_then_weights",
    summary="a prompt evolves over frozen weights for half of the budget, then the weights learn by RL under it",
    learns_weights=True,
    operators=("mutation", "crossover"),
    baseline="across_prompts",
    schedule="prompt_then_weights",
)
WEIGHTS_THEN_PROMPT: Final = Method(
    name="weights_then_prompt",
    summary="weights learn by RL under the root prompt for half of the budget, then a prompt evolves over them, frozen",
    learns_weights=True,
    operators=("mutation", "crossover"),
    baseline="across_prompts",
    schedule="weights_then_prompt",
)
