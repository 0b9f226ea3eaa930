"""Evolution: the full evolutionary algorithm of E-SPL over frozen weights."""

from espl_bench.method import Method

EVOLUTION_ONLY = Method(
    name="evolution_only",
    summary="a rated population of prompts evolves by mutation and crossover; weights frozen",
    operators=("mutation", "crossover"),
)
