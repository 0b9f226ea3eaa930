"""Crossover: the best prompt learns from those that beat it somewhere (paper).

The score matrix Φ (prompts × problems, mean rewards) gives each problem its unique winner, if there is one. Parents are the
best prompt, set A, and every other prompt that won a problem; unless A and at least one other won, there is no
crossover. One call sees all sets with the problems each won and returns edits of set A.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from espl_bench.evolution.operators.editor import LABELS, Editor, ParentView, crossover_context
from espl_bench.evolution.operators.edits import UnparseableEditsError, apply_edits
from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Birth, Child, EditLimits, Evidence
from espl_bench.evolution.rating import crossover_child
from espl_bench.prompts.dialect import TemplateName
from espl_bench.types import Problem, Rejected, TrajectoryGroup

MARGIN = 1e-9
"""Mean rewards closer than this count as equal: a problem both solve equally often has no unique winner."""


def score_matrix(groups_KP: Sequence[TrajectoryGroup]) -> dict[int, dict[str, float]]:
    """Build Φ: prompt id → problem id → mean reward. Groups of a prompt that was sampled twice are pooled.

    A problem that could not be graded under some prompt allows no comparison and is left out of every row.
    """
    pooled: dict[int, dict[str, list[float]]] = {}
    for group in groups_KP:
        pooled.setdefault(group.prompt_id, {}).setdefault(group.problem.id, []).extend(group.graded_rewards)
    ungraded = {problem for row in pooled.values() for problem, rewards in row.items() if not rewards}
    return {
        prompt: {problem: sum(rewards) / len(rewards) for problem, rewards in row.items() if problem not in ungraded}
        for prompt, row in pooled.items()
    }


def unique_wins(scores: Mapping[int, Mapping[str, float]]) -> dict[int, list[str]]:
    """Map prompt id to the problems on which it alone scored highest, in the batch's order."""
    wins: dict[int, list[str]] = {prompt: [] for prompt in scores}
    for problem in next(iter(scores.values())):
        ranked = sorted(scores, key=lambda prompt: scores[prompt][problem], reverse=True)
        if len(ranked) > 1 and scores[ranked[0]][problem] > scores[ranked[1]][problem] + MARGIN:
            wins[ranked[0]].append(problem)
    return wins


@dataclass(frozen=True, slots=True)
class Crossover:
    """Edits the best prompt of the step in the light of those that beat it somewhere."""

    name: str = "crossover"

    async def propose(self, view: StepView, editor: Editor, limits: EditLimits, rng: np.random.Generator) -> Sequence[Child | Rejected]:
        """Return one child of the best prompt and its rivals, with probability `limits.crossover_prob`, or why there is none."""
        if rng.random() >= limits.crossover_prob:
            return []
        return [await cross(self.name, view, editor, limits)]

    def max_calls(self, problems: int, group_size: int, limits: EditLimits) -> int:
        """Return 1 if crossovers can happen, else 0."""
        return 1 if limits.crossover_prob > 0 else 0


CROSSOVER: Final = Crossover()


async def cross(operator: str, view: StepView, editor: Editor, limits: EditLimits) -> Child | Rejected:
    """Write one child of the best prompt and its rivals, or return why there is none."""
    best, wins = view.best, unique_wins(score_matrix(view.groups_KP))
    rivals = [prompt for prompt in view.ranked if prompt.id != best.id and wins[prompt.id]]
    if not wins[best.id] or not rivals:
        return Birth(operator, (best,), view.step).rejected("no_rival", "no problem was won by the best and another")
    birth = Birth(operator, (best, *rivals)[: len(LABELS)], view.step)
    problems: dict[str, Problem] = {group.problem.id: group.problem for group in view.groups_KP}
    views = [
        ParentView(label, parent.principles, tuple(problems[problem].question for problem in wins[parent.id]))
        for label, parent in zip(LABELS[: len(birth.parents)], birth.parents, strict=True)
    ]
    [text] = await editor.write(TemplateName.CROSSOVER, [crossover_context(views, limits)])
    try:
        parsed = limits.parse(text, limits.edits.crossover, best.principles)
    except UnparseableEditsError as error:
        return birth.rejected("unparseable", f"crossover: {error}", (text,))
    if not parsed.edits:
        return birth.rejected("no_edits", "; ".join(parsed.problems)[:300])
    applied = apply_edits(best.principles, parsed.edits)
    rating = crossover_child([parent.rating for parent in birth.parents], limits.sigma_growth)
    evidence = tuple(Evidence.of(edit, "crossover") for edit in applied.applied)
    return birth.child(applied.principles, rating, evidence, limits, unchanged="the edits left set A as it was")
