"""Crossover: the best prompt learns from those that beat it somewhere (paper).

The score matrix Φ (prompts × problems, mean rewards) gives each problem its unique winner, if it has one. Parents are the
best prompt, set A, and every other prompt that won a problem; without a win of A and of at least one other there is no
crossover. One call sees all sets with the problems each won and returns edits of set A.
"""

from collections.abc import Mapping, Sequence

from espl_bench.evolution.operators.edits import UnparseableEditsError, apply_edits, parse_edits
from espl_bench.evolution.operators.proposal import Child, EditLimits, Evidence
from espl_bench.evolution.operators.reflection import LABELS, Editor, ParentView, crossover_context
from espl_bench.evolution.rating import crossover_child
from espl_bench.prompts.dialect import TemplateName
from espl_bench.types import Lineage, Origin, Problem, Rejected, SystemPrompt, TrajectoryGroup

MARGIN = 1e-9
"""Mean rewards closer than this are equal: a problem both solve as often has no unique winner."""


def score_matrix(groups_KP: Sequence[TrajectoryGroup]) -> dict[int, dict[str, float]]:
    """Φ: prompt id → problem id → mean reward; groups of a prompt that was sampled twice are pooled.

    A problem that could not be graded under some prompt compares nothing: it is in no row.
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
    """Prompt id → problems on which it alone scored highest, in the batch's order."""
    wins: dict[int, list[str]] = {prompt: [] for prompt in scores}
    for problem in next(iter(scores.values())):
        ranked = sorted(scores, key=lambda prompt: scores[prompt][problem], reverse=True)
        if len(ranked) > 1 and scores[ranked[0]][problem] > scores[ranked[1]][problem] + MARGIN:
            wins[ranked[0]].append(problem)
    return wins


async def cross(
    best: SystemPrompt,
    prompts: Sequence[SystemPrompt],
    groups_KP: Sequence[TrajectoryGroup],
    editor: Editor,
    limits: EditLimits,
) -> Child | Rejected:
    """One child of the best prompt and its rivals, or why there is none. `prompts` are the distinct ones of the batch."""
    wins = unique_wins(score_matrix(groups_KP))
    rivals = [prompt for prompt in prompts if prompt.id != best.id and wins[prompt.id]]
    if not wins[best.id] or not rivals:
        return Rejected(editor.step + 1, Origin.CROSSOVER, (best.id,), "no_rival", "no problem was won by the best and another")
    parents = (best, *rivals)[: len(LABELS)]
    ids = tuple(parent.id for parent in parents)
    problems: dict[str, Problem] = {group.problem.id: group.problem for group in groups_KP}
    views = [
        ParentView(label, parent.principles, tuple(problems[problem].question for problem in wins[parent.id]))
        for label, parent in zip(LABELS[: len(parents)], parents, strict=True)
    ]
    [text] = await editor.write(TemplateName.CROSSOVER, [crossover_context(views, limits)])
    try:
        parsed = parse_edits(text, limits.edits.crossover, best.principles, None, limits.max_words, limits.edits.clean)
    except UnparseableEditsError as error:
        return Rejected(editor.step + 1, Origin.CROSSOVER, ids, "unparseable", f"crossover: {error}")
    if not parsed.edits:
        return Rejected(editor.step + 1, Origin.CROSSOVER, ids, "no_edits", "; ".join(parsed.problems)[:300])
    applied = apply_edits(best.principles, parsed.edits)
    if applied.principles == best.principles:
        return Rejected(editor.step + 1, Origin.CROSSOVER, ids, "unchanged", "the edits left set A as it was")
    if excess := limits.excess(applied.principles):
        return Rejected(editor.step + 1, Origin.CROSSOVER, ids, "too_long", excess)
    return Child(
        principles=applied.principles,
        rating=crossover_child([parent.rating for parent in parents], limits.sigma_growth),
        lineage=Lineage(Origin.CROSSOVER, ids, editor.step + 1),
        evidence=tuple(Evidence.of(edit, "crossover") for edit in applied.applied),
    )
