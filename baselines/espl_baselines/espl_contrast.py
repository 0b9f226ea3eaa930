"""E-SPL whose mutation also reflects on what another prompt of the step could do and the best one could not.

E-SPL's mutation sees a problem only if the best prompt's own rollouts are partly right. A wrong principle makes all of them fail, so the
evidence against it never reaches the editor, although another prompt of the step may have solved the same problem. Here such problems
are shown too: wrong attempts of the best prompt beside right ones of the other, with the principles in which the two differ. Everything
else is E-SPL, and no rollout is made for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from espl_bench.evolution.operators.editor import Editor
from espl_bench.evolution.operators.mutation import MUTATION, Case, mutate, reflected_on
from espl_bench.evolution.operators.operator import StepView
from espl_bench.evolution.operators.proposal import Birth, Child, EditLimits
from espl_bench.method import ESPL
from espl_bench.types import Outcome, Rejected, SystemPrompt, Trajectory, TrajectoryGroup


@dataclass(frozen=True, slots=True)
class Contrast:
    """Mutation with the contrasts between prompts besides those within the best one."""

    name: str = "contrast"

    async def propose(self, view: StepView, editor: Editor, limits: EditLimits, rng: np.random.Generator) -> Sequence[Child | Rejected]:
        """Return one child of the best prompt, or why there is none. Draws no random numbers."""
        best, groups_P = reflected_on(view, limits)
        more = contrasts_between(view, best, groups_P, limits.attempts)
        return [await mutate(Birth(self.name, (best,), view.step), groups_P, editor, limits, more)]

    def max_calls(self, problems: int, group_size: int, limits: EditLimits) -> int:
        """Count as mutation does: a problem is shown once, with one kind of contrast or the other."""
        return MUTATION.max_calls(problems, group_size, limits)


def contrasts_between(view: StepView, best: SystemPrompt, groups_P: Sequence[TrajectoryGroup], attempts: int) -> list[Case]:
    """Return the problems on which all of the best prompt's rollouts are wrong and another prompt's are not, at most `attempts` of each.

    At most half of the attempts are right. They are those of the prompt with most right ones; of equals, of the better one.
    """
    attempts = max(2, attempts)
    own: dict[str, list[Trajectory]] = {}
    for group in groups_P:
        own.setdefault(group.problem.id, []).extend(rollout for rollout in group.trajectories_G if rollout.outcome.graded)
    cases: list[Case] = []
    for rollouts in own.values():
        if not rollouts or any(rollout.outcome is Outcome.CORRECT for rollout in rollouts):
            continue
        solved = [(prompt, _right(view, prompt, rollouts[0].problem.id)) for prompt in view.ranked if prompt.id != best.id]
        rival, right = max(solved, key=lambda pair: len(pair[1]), default=(None, []))
        if right:
            shown = right[: attempts // 2]
            cases.append(Case(rollouts[0].problem, (*shown, *rollouts[: attempts - len(shown)]), rival))
    return cases


def _right(view: StepView, prompt: SystemPrompt, problem_id: str) -> list[Trajectory]:
    groups = [group for group in view.groups_of(prompt) if group.problem.id == problem_id]
    return [rollout for group in groups for rollout in group.trajectories_G if rollout.outcome is Outcome.CORRECT]


CONTRAST: Final = Contrast()
ESPL_CONTRAST = ESPL.varied(
    name="espl_contrast",
    summary="E-SPL whose mutation also sees problems that the best prompt always fails and another prompt of the step solves",
    operators=("contrast", "crossover"),
)
