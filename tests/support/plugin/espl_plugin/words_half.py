"""What a method's words half can be given: a selector, an operator, an acceptance rule, a schedule."""

from dataclasses import dataclass

from espl_bench.evolution.acceptance import Judgement
from espl_bench.evolution.operators.proposal import Birth
from espl_bench.evolution.rating import mutation_child
from espl_bench.evolution.schedule import Halves


class Pareto:
    """Prompts that no other prompt beats on every problem it was seen on, then the rest."""

    def select(self, window, history, num_prompts, rng):
        def beaten(prompt):
            own = history.of(prompt.id)
            others = [history.of(other.id) for other in window if other.id != prompt.id]
            return any(
                own and own.keys() <= other.keys() and all(other[problem].mean > own[problem].mean for problem in own) for other in others
            )

        front = sorted(window, key=lambda prompt: (beaten(prompt), -prompt.id))
        return tuple(front[index % len(front)] for index in range(num_prompts))


@dataclass(frozen=True)
class Shuffle:
    """Two children without a call to the editor: a new principle each, in the light of what the best prompt earned."""

    name: str = "plugin_shuffle"

    async def propose(self, view, editor, limits, rng):
        birth = Birth(self.name, (view.best,), view.step)
        known = len(view.population.history.of(view.best.id))
        return [
            birth.child(
                (*view.best.principles, f"rule {int(rng.integers(1000))} of {known} problems"),
                mutation_child(view.best.rating, limits.sigma_growth),
                (),
                limits,
                unchanged="it says nothing new",
            )
            for _ in range(2)
        ]

    def max_calls(self, problems, group_size, limits):
        return 0


class NoWorse:
    """Admits a child that earns no less than its parent, on rollouts of its own."""

    rolls_out = True

    async def judge(self, child, view, trial):
        groups = await trial.roll_out(child.principles)
        after = sum(sum(group.graded_rewards) for group in groups)
        before = sum(sum(group.graded_rewards) for group in view.groups_of(view.best))
        return Judgement(after >= before, f"{after:g} against {before:g}")


def even_steps(progress, period):
    """Words in even iterations, weights in all."""
    return Halves(weights=True, words=progress.step % 2 == 0)


PARETO, SHUFFLE, NO_WORSE = Pareto(), Shuffle(), NoWorse()
