"""FST, fast-slow training (arXiv 2605.12484): weights learn in every iteration, prompts are bred every T of them.

What is taken from the paper and what differs is in docs/rivals.md.
"""

from typing import Final

from espl_bench.method import Method

FST: Final = Method(
    name="fst",
    summary="weights learn by CISPO in one group across prompts; prompts are bred every few iterations and drawn from a Pareto front",
    learns_weights=True,
    operators=("mutation", "crossover"),
    selector="pareto",
    schedule="words_every_period",
    schedule_period=5,
    baseline="across_prompts",
    normalisation="standard_deviation",
    loss="cispo",
)
