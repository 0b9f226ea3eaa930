"""Mutation: the best prompt of an iteration reflects on its own rollouts (paper; four stages).

1. Each rollout of a problem with contrast (some right, some wrong) is summarised.
2. Each such problem is criticised: the input is labelled summaries, the truth and the principles; the output at most `max_edits` edits.
3. All proposals are aggregated in one call that rewords and merges.
4. The edits are applied and the principles renumbered.

Identical proposals of several problems are counted as votes before stage 3; all other decisions are the editor's.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from espl_bench.evolution.operators.editor import (
    AttemptView,
    Editor,
    Proposal,
    RivalView,
    aggregate_context,
    critique_context,
    summary_context,
    transcript,
)
from espl_bench.evolution.operators.edits import Add, Edit, Modify, UnparseableEditsError, apply_edits
from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Birth, Child, EditLimits, Evidence
from espl_bench.evolution.rating import mutation_child
from espl_bench.prompts.dialect import TemplateName
from espl_bench.prompts.principle_text import quote
from espl_bench.types import Outcome, Problem, Rejected, SystemPrompt, Trajectory, TrajectoryGroup


@dataclass(frozen=True, slots=True)
class Case:
    """A problem with right and wrong attempts, as one critique sees it."""

    problem: Problem
    rollouts: tuple[Trajectory, ...]
    rival: SystemPrompt | None = None
    """The prompt of the right attempts; None if all attempts are the parent's own."""

    def prompt_of(self, rollout: Trajectory, parent: SystemPrompt) -> SystemPrompt:
        """Return the prompt that an attempt was made under."""
        return self.rival if self.rival is not None and rollout.prompt_id == self.rival.id else parent


@dataclass(frozen=True, slots=True)
class Critique:
    """The edits proposed by one problem's critique."""

    problem: Problem
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Mutation:
    """Edits the best prompt of the step in the light of its own rollouts."""

    name: str = "mutation"

    async def propose(self, view: StepView, editor: Editor, limits: EditLimits, rng: np.random.Generator) -> Sequence[Child | Rejected]:
        """Return one child of the best prompt, or why there is none. Draws no random numbers."""
        best, groups_P = reflected_on(view, limits)
        return [await mutate(Birth(self.name, (best,), view.step), groups_P, editor, limits)]

    def max_calls(self, problems: int, group_size: int, limits: EditLimits) -> int:
        """Count a summary of each attempt, a critique of each problem, and one aggregation."""
        return problems * group_size + problems + 1


MUTATION: Final = Mutation()


def reflected_on(view: StepView, limits: EditLimits) -> tuple[SystemPrompt, tuple[TrajectoryGroup, ...]]:
    """Return the prompt that a mutation edits, and the groups that it reflects on."""
    return (view.best, view.groups_of(view.best)) if limits.rules.reflect_on == "prompt" else view.best_slot()


async def mutate(
    birth: Birth, groups_P: Sequence[TrajectoryGroup], editor: Editor, limits: EditLimits, more: Sequence[Case] = ()
) -> Child | Rejected:
    """Write one child of a single parent from its own groups and `more` cases, or return why there is none."""
    [parent] = birth.parents
    always = limits.rules.aggregation == "always"
    cases = [*contrasts(groups_P, limits.attempts), *more]
    if not cases and not always:
        return birth.rejected("no_contrast", f"none of {len(groups_P)} problems had both right and wrong rollouts")
    views = await summarise(parent, cases, editor, limits)
    critiques, broken = await criticise(parent, cases, views, editor, limits)
    if not always and not any(critique.edits for critique in critiques):
        faults = "; ".join(line for line, _ in broken)[:300]
        return birth.rejected("unparseable" if broken else "no_edits", faults, tuple(dict.fromkeys(text for _, text in broken)))
    return await _aggregate(birth, critiques, editor, limits)


def contrasts(groups_P: Sequence[TrajectoryGroup], attempts: int) -> list[Case]:
    """Return the problems with 0 < V < 1, each with at most `attempts` rollouts, right and wrong ones alternating.

    Several groups of one problem (a prompt that was sampled twice) are pooled. A contrast needs two: a smaller limit counts as 2.
    """
    attempts = max(2, attempts)
    pooled: dict[str, list[Trajectory]] = {}
    for group in groups_P:
        pooled.setdefault(group.problem.id, []).extend(t for t in group.trajectories_G if t.outcome.graded)
    cases: list[Case] = []
    for rollouts in pooled.values():
        right = [trajectory for trajectory in rollouts if trajectory.outcome is Outcome.CORRECT]
        wrong = [trajectory for trajectory in rollouts if trajectory.outcome is not Outcome.CORRECT]
        if right and wrong:
            few = min(len(right), len(wrong), attempts // 2)
            rights = max(few, min(len(right), attempts - len(wrong)))
            cases.append(Case(rollouts[0].problem, (*right[:rights], *wrong[: attempts - rights])))
    return cases


async def summarise(parent: SystemPrompt, cases: Sequence[Case], editor: Editor, limits: EditLimits) -> list[tuple[AttemptView, ...]]:
    """Summarise every rollout of every case (stage 1), in one call."""
    shows = limits.rules.summary_shows
    contexts = [
        summary_context(
            case.problem,
            transcript(rollout),
            None if shows == "attempt" else case.prompt_of(rollout, parent).principles,
            rollout.outcome is Outcome.CORRECT if shows == "verdict" else None,
        )
        for case in cases
        for rollout in case.rollouts
    ]
    texts = iter(await editor.write(TemplateName.SUMMARY, contexts))
    return [tuple(AttemptView(rollout.outcome is Outcome.CORRECT, next(texts)) for rollout in case.rollouts) for case in cases]


async def criticise(
    parent: SystemPrompt,
    cases: Sequence[Case],
    views: Sequence[tuple[AttemptView, ...]],
    editor: Editor,
    limits: EditLimits,
) -> tuple[list[Critique], list[tuple[str, str]]]:
    """Criticise every problem (stage 2), in one call. Also returns a line for every fault in a critique, with the critique."""
    contexts = [
        critique_context(
            parent.principles,
            case.problem,
            attempts,
            limits,
            None if case.rival is None else RivalView.of(case.rival.principles, parent.principles),
        )
        for case, attempts in zip(cases, views, strict=True)
    ]
    critiques: list[Critique] = []
    broken: list[tuple[str, str]] = []
    texts = await editor.write(TemplateName.CRITIQUE, contexts)
    for problem, text in zip((case.problem for case in cases), texts, strict=True):
        try:
            parsed = limits.parse(text, limits.edits.critique, parent.principles, limits.max_edits)
        except UnparseableEditsError as error:
            broken.append((f"critique of {problem.id}: {error}", text))
            continue
        critiques.append(Critique(problem, parsed.edits))
        broken.extend((f"critique of {problem.id}: {line}", text) for line in parsed.problems)
    return critiques, broken


async def _aggregate(birth: Birth, critiques: Sequence[Critique], editor: Editor, limits: EditLimits) -> Child | Rejected:
    """Run stages 3 and 4."""
    [parent] = birth.parents
    added, changes = count_votes(parent.principles, critiques)
    [text] = await editor.write(TemplateName.AGGREGATE, [aggregate_context(parent.principles, added, changes, limits)])
    candidates = (*parent.principles, *(proposal.principle for proposal in added))
    try:
        final = limits.parse(text, limits.edits.aggregate, candidates, aggregates=True).edits
        unread: tuple[Evidence, ...] = ()
    except UnparseableEditsError as error:
        if limits.rules.unreadable_aggregation == "reject":
            return birth.rejected("unparseable", f"aggregation: {error}", (text,))
        final, unread = (), (Evidence("keep", (), "", "aggregation", f"unreadable: {error}"),)
    left = apply_edits(candidates, final).principles
    overlong = limits.overlong(left, parent.principles)
    principles = tuple(text for text in left if text not in overlong)
    if overlong and principles == parent.principles:
        return birth.rejected("too_long", f"the aggregation left {_longer(overlong[0], limits)}: {quote(overlong[0])}")
    evidence = (
        *(Evidence.of(edit, critique.problem.id) for critique in critiques for edit in critique.edits),
        *(Evidence.of(edit, "aggregation") for edit in final),
        *unread,
        *(Evidence("remove", (candidates.index(text),), text, "word limit", _longer(text, limits)) for text in overlong),
    )
    rating = mutation_child(parent.rating, limits.sigma_growth)
    return birth.child(principles, rating, evidence, limits, unchanged="the aggregation left the parent's principles as they were")


def _longer(text: str, limits: EditLimits) -> str:
    return f"an addition of {len(text.split())} words, more than {limits.max_words}"


def count_votes(principles: Sequence[str], critiques: Sequence[Critique]) -> tuple[tuple[Proposal, ...], tuple[Proposal, ...]]:
    """Count additions (numbered on from the parent's principles) and changes by the number of problems that ask for each.

    Most votes first; of equals, the first mentioned. An addition that repeats a principle is dropped.
    """
    adds: Counter[str] = Counter()
    changes: Counter[tuple[int, str]] = Counter()
    for critique in critiques:
        new = [edit.principle for edit in critique.edits if isinstance(edit, Add) and edit.principle not in principles]
        changed = [(edit.id, edit.principle) for edit in critique.edits if isinstance(edit, Modify)]
        adds.update(tuple(dict.fromkeys(new)))  # one vote per problem, however many reasons it gives
        changes.update(tuple(dict.fromkeys(changed)))
    added = tuple(Proposal(index, text, votes) for index, (text, votes) in enumerate(adds.most_common(), start=len(principles)))
    return added, tuple(Proposal(index, text, votes) for (index, text), votes in changes.most_common())
