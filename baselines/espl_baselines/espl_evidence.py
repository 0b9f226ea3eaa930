"""E-SPL with what was found to help it: contrasts between prompts, and doubt of the principle with least evidence."""

from espl_bench.method import ESPL

ESPL_EVIDENCE = ESPL.varied(
    name="espl_evidence",
    summary="E-SPL with contrasts between prompts, and doubt of the principle with least evidence",
    operators=("contrast", "doubt", "crossover"),
)
