"""E-SPL that keeps the evidence about each principle, and tries to do without the principles that have least.

The prompts of a step differ, so rollouts made with a principle stand beside rollouts made without it, on the same problems
(`espl_bench.evolution.credit`). In every third iteration this operator writes a copy of the best prompt without the two principles that
the evidence is most against. If there is evidence against one, that removes it. If there is none for it either, because all prompts state
it, the copy puts it in doubt: the rollouts under the copy, which E-SPL makes in any case for a newest prompt, are then the evidence that
was missing. No call to the editor and no rollout is made for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from espl_bench.evolution.credit import Credit
from espl_bench.evolution.operators.editor import Editor
from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Birth, Child, EditLimits, Evidence
from espl_bench.evolution.rating import mutation_child
from espl_bench.method import ESPL
from espl_bench.types import Rejected


@dataclass(frozen=True, slots=True)
class Doubt:
    """Copies the best prompt without its least supported principles."""

    name: str = "doubt"
    most: int = 2
    """Principles that one copy leaves out."""
    every: int = 3
    """Iterations between two copies."""
    enough: int = 3
    """A principle is not in doubt if problems spoke so much oftener for it than against it."""

    async def propose(self, view: StepView, editor: Editor, limits: EditLimits, rng: np.random.Generator) -> Sequence[Child | Rejected]:
        """Return at most one child of the best prompt. Draws the order of equally supported principles."""
        if view.step % self.every:
            return []
        best = view.best
        credit = {text: view.population.credit.get(text, Credit()) for text in best.principles}
        order = [best.principles[int(index)] for index in rng.permutation(len(best.principles))]
        open_to_doubt = [text for text in order if credit[text].support < self.enough]
        doubted = sorted(open_to_doubt, key=lambda text: credit[text].support)[: self.most]
        if not doubted or len(doubted) == len(best.principles):
            return []
        evidence = tuple(
            Evidence("remove", (index,), text, "credit", credit[text].told())
            for index, text in enumerate(best.principles)
            if text in doubted
        )
        left = tuple(text for text in best.principles if text not in doubted)
        rating = mutation_child(best.rating, limits.sigma_growth)
        birth = Birth(self.name, (best,), view.step)
        return [birth.child(left, rating, evidence, limits, unchanged="no principle is in doubt")]

    def max_calls(self, problems: int, group_size: int, limits: EditLimits) -> int:
        """Return 0: counts decide."""
        return 0


DOUBT: Final = Doubt()
ESPL_CREDIT = ESPL.varied(
    name="espl_credit",
    summary="E-SPL that keeps the evidence about each principle and tries to do without those that have least",
    operators=("mutation", "doubt", "crossover"),
)
