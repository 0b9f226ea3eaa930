"""Self-reflection: one prompt, rewritten after every iteration by mutation; no selection, no crossover, frozen weights."""

from espl_bench.method import Method, Shown

REFLECTION_ONLY = Method(
    name="reflection_only",
    summary="one prompt, rewritten by mutation every iteration; weights frozen",
    operators=("mutation",),
    population_size=1,
    shown=Shown.NEWEST,
)
