"""Rows that name what this package adds."""

from espl_bench.method import Method

PLUGIN_ESPL = Method(
    name="plugin_espl",
    summary="everything this package adds, in one row",
    learns_weights=True,
    operators=("plugin_shuffle", "mutation"),
    selector="plugin_pareto",
    acceptance="plugin_no_worse",
    schedule="plugin_even_steps",
    baseline="plugin_median",
    normalisation="plugin_signs",
    reduction="token_mean",
)
PLUGIN_CLIMB = Method(name="plugin_climb", summary="hill climbing", optimizer="plugin_hill_climb")
