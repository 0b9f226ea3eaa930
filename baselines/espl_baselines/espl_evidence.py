"""E-SPL with contrasts between prompts and doubt of the principles with least evidence: what one prompt doubts, the others prove.

A contrast needs a prompt that differs. Where all prompts state the same wrong principle there is none, until a copy does without it.
"""

from espl_bench.method import ESPL

ESPL_EVIDENCE = ESPL.varied(
    name="espl_evidence",
    summary="E-SPL with contrasts between prompts, and doubt of the principles with least evidence",
    operators=("contrast", "doubt", "crossover"),
)
