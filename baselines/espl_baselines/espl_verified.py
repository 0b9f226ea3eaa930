"""E-SPL that tries a child on a few problems before it joins, and turns away one that is worse there than its parent.

The paper admits every child, so an edit that rests on one lucky answer is known to be wrong only after the child took a place in the
window. The trial's rollouts are metered: a run makes more of them than E-SPL's.
"""

from dataclasses import dataclass
from typing import Final

from espl_bench.evolution.acceptance import TIE_SLACK, Judgement, Trial, mean_reward
from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Child
from espl_bench.method import ESPL
from espl_bench.types import Problem


@dataclass(frozen=True, slots=True)
class NoWorse:
    """Admits a child that earns no less than its first parent on a few problems of the step."""

    problems: int = 3
    rolls_out: bool = True

    async def judge(self, child: Child, view: StepView, trial: Trial) -> Judgement:
        """Roll the child out on the problems its edits rest on, then on others, and compare the two means."""
        parent_id = child.lineage.parent_ids[0]
        own = [group for group in view.groups_KP if group.prompt_id == parent_id]
        problems = {group.problem.id: group.problem for group in own}
        tried = _first(problems, [edit.source for edit in child.evidence], self.problems)
        ids = {problem.id for problem in tried}
        before = mean_reward([group for group in own if group.problem.id in ids])
        after = mean_reward(await trial.roll_out(child.principles, tried))
        told = f"{after:.4f} against {before:.4f} of prompt {parent_id} on {len(tried)} problems"
        return Judgement(after >= before - TIE_SLACK, told)


def _first(problems: dict[str, Problem], preferred: list[str], most: int) -> list[Problem]:
    """Return the preferred problems and then the others, at most so many."""
    order = dict.fromkeys([*(each for each in preferred if each in problems), *problems])
    return [problems[each] for each in order][:most]


NO_WORSE: Final = NoWorse()
ESPL_VERIFIED = ESPL.varied(
    name="espl_verified",
    summary="E-SPL in which a child joins only if it is not worse than its parent on three problems of the step",
    acceptance="no_worse",
)
