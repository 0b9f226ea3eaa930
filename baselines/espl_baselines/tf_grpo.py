"""Training-free GRPO (arXiv 2510.08191): one list of experiences, edited by comparing the rollouts of each problem; weights frozen.

What is taken from the paper and what differs is in docs/rivals.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from espl_bench.evolution.operators.editor import Editor, aggregate_context
from espl_bench.evolution.operators.edits import Remove, UnparseableEditsError, apply_edits
from espl_bench.evolution.operators.mutation import contrasts, count_votes, criticise, summarise
from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Birth, Child, EditLimits, Evidence
from espl_bench.evolution.rating import mutation_child
from espl_bench.method import Method, Shown
from espl_bench.prompts.dialect import TemplateName
from espl_bench.prompts.forms import Form
from espl_bench.types import Rejected


class WithDeletion(EditLimits):
    """Bounds under which a comparison, and the update of the list, may also delete."""

    @property
    def edits(self) -> Form:
        """Return the edits of the prompt's form, and `remove` in both stages."""
        form = super().edits
        return replace(form, critique=form.critique | {"remove"}, aggregate=form.aggregate | {"remove"})


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Edits the list of experiences by the operations that the comparisons of the step's groups propose."""

    name: str = "group_comparison"

    async def propose(self, view: StepView, editor: Editor, limits: EditLimits, rng: np.random.Generator) -> Sequence[Child | Rejected]:
        """Return the edited list, or why it stays. Draws no random numbers."""
        birth, groups = Birth(self.name, (view.best,), view.step), view.groups_of(view.best)
        bounds = WithDeletion(**{each.name: getattr(limits, each.name) for each in fields(limits)})
        if not (cases := contrasts(groups, limits.attempts)):
            return [birth.rejected("no_contrast", f"none of {len(groups)} problems had both right and wrong rollouts")]
        attempts = await summarise(view.best, cases, editor, bounds)
        critiques, broken = await criticise(view.best, cases, attempts, editor, bounds)
        proposed = [(critique.problem.id, edit) for critique in critiques for edit in critique.edits]
        if not proposed:
            reason, texts = ("unparseable" if broken else "no_edits"), dict.fromkeys(text for _, text in broken)
            return [birth.rejected(reason, "; ".join(line for line, _ in broken)[:300], tuple(texts))]
        experiences = view.best.principles
        added, changes = count_votes(experiences, critiques)
        [text] = await editor.write(TemplateName.AGGREGATE, [aggregate_context(experiences, added, changes, bounds)])
        candidates = (*experiences, *(proposal.principle for proposal in added))
        try:
            updates = bounds.parse(text, bounds.edits.aggregate, candidates, aggregates=True).edits
        except UnparseableEditsError as error:
            return [birth.rejected("unparseable", f"update: {error}", (text,))]
        deletions = [edit for _, edit in proposed if isinstance(edit, Remove)]
        edited = apply_edits(candidates, (*updates, *deletions)).principles
        overlong = bounds.overlong(edited, experiences)
        left = tuple(experience for experience in edited if experience not in overlong)
        evidence = (*(Evidence.of(edit, source) for source, edit in proposed), *(Evidence.of(edit, "aggregation") for edit in updates))
        rating = mutation_child(view.best.rating, limits.sigma_growth)
        return [birth.child(left, rating, evidence, limits, unchanged="the update left the list as it was")]

    def max_calls(self, problems: int, group_size: int, limits: EditLimits) -> int:
        """Count a summary of each attempt, a comparison of each problem, and one update of the list."""
        return problems * min(group_size, max(2, limits.attempts)) + problems + 1


GROUP_COMPARISON: Final = GroupComparison()
TF_GRPO: Final = Method(
    name="tf_grpo",
    summary="one list of experiences, edited by comparing the rollouts of each problem; weights frozen",
    operators=("group_comparison",),
    population_size=1,
    shown=Shown.NEWEST,
)
