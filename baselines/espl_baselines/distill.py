"""Distillation: what an evolved prompt says goes into the weights, which are then tested without it.

On-policy context distillation (OPCD, arXiv 2602.12275) of a prompt that was evolved for the purpose (as by P2O, arXiv 2603.21877).
What is taken from the papers and what differs is in docs/rivals.md.
"""

from typing import Final

from espl_bench.evolution.schedule import Halves, Progress, Prompts
from espl_bench.method import Method, Shown, Teacher

DISTIL: Final = Halves(weights=True, words=False, prompts=Prompts.ROOT, distil=True)


def words_then_distil(progress: Progress, period: int) -> Halves:
    """Breed prompts over frozen weights in the first half of the iterations; distil the best of them in the second."""
    return Halves(weights=False, words=True) if 2 * progress.step < progress.steps else DISTIL


def together_then_distil(progress: Progress, period: int) -> Halves:
    """Train weights and breed prompts in the first three quarters of the iterations; distil the best prompt in the last one."""
    return Halves(weights=True, words=True) if 4 * progress.step < 3 * progress.steps else DISTIL


DISTILL: Final = Method(
    name="distill",
    summary="a prompt evolves over frozen weights, then the weights learn to do without it; tested under the root prompt",
    learns_weights=True,
    operators=("mutation", "crossover"),
    schedule="words_then_distil",
    shown=Shown.ROOT,
    teacher=Teacher.REFERENCE,
)
ESPL_DISTILL: Final = Method(
    name="espl_distill",
    summary="E-SPL, whose last quarter distils the best prompt into the weights; tested under the root prompt",
    learns_weights=True,
    operators=("mutation", "crossover"),
    schedule="together_then_distil",
    shown=Shown.ROOT,
    teacher=Teacher.CURRENT,
)
