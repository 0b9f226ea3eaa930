"""GEPA (arXiv 2507.19457): the official package with this harness's rollouts, editor, ledger and budget; weights frozen.

Pareto selection, minibatches, acceptance, merging and the choice of the result are the package's. What else differs from the paper is in
docs/rivals.md. The package is synchronous and deterministic given its seed and the answers to its calls, so a run is resumed by replay
(`evolution.replayed_calls`). The package's own checkpoint is a pickle, which is code to whoever opens the run, and restores neither its
random generators nor its count of merges.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from espl_bench.errors import UsageError
from espl_bench.evolution.operators.mutation import mutate
from espl_bench.evolution.operators.proposal import Birth, Child
from espl_bench.evolution.optimizer import Harness
from espl_bench.evolution.replayed_calls import ReplayedCalls
from espl_bench.method import Method
from espl_bench.seeding import seed_for
from espl_bench.types import Lineage, Problem, Rating, Split, SystemPrompt, TrajectoryGroup

NAME: Final = "gepa"
MINIBATCH: Final = 3
"""Problems of a minibatch (the package's default)."""
SLOTS: Final = 64
"""Components of a candidate: principles at most. Each has a slot of its own, so that a merge can take them one by one."""
ABOVE_ZERO: Final = 1e-9
"""Added to every score, which leaves their order: the package draws an ancestor in proportion to its score, and fails if all have 0."""
SEEN: Final = "seen"
"""Stands for a trace whose proposal is already known."""

Candidate = dict[int, str]
"""Slot → principle, empty where there is none. Numbers, because sets of strings have another order in every process."""


def candidate_of(principles: Sequence[str], before: Candidate | None = None) -> Candidate:
    """Lay out principles in slots.

    Those of an earlier candidate keep their slots. New ones take the slots of those that are gone, as modifications do, and then slots that
    their texts determine: so two descendants that added different principles differ in different slots, and a merge has both.
    """
    if before is None:
        return dict.fromkeys(range(SLOTS), "") | dict(enumerate(principles))
    slots = {slot: text if text in principles else "" for slot, text in before.items()}
    new = [text for text in principles if text not in slots.values()]
    freed = [slot for slot, text in slots.items() if not text and before[slot]]
    slots |= dict(zip(freed, new, strict=False))
    for text in new[len(freed) :]:
        first = seed_for(0, NAME, text)
        slots[next(slot for slot in ((first + step) % SLOTS for step in range(SLOTS)) if not slots[slot])] = text
    return slots


def principles_of(candidate: Mapping[int, str]) -> tuple[str, ...]:
    """Return the principles of a candidate, in the order of their slots, each once."""
    return tuple(dict.fromkeys(candidate[slot] for slot in sorted(candidate) if candidate[slot]))


@dataclass
class Adapter:
    """What the package calls, in its thread: its adapter, its callbacks, and its test of when to stop."""

    harness: Harness
    calls: ReplayedCalls
    """Their answers are (prompt id, scores) of an evaluation, principles of a proposal (None: no child)."""
    propose_new_texts: None = None
    """Proposals come from `propose`, which the package is given."""
    traces: Sequence[TrajectoryGroup] = ()
    parents: Sequence[int] = ()
    candidates: dict[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    """The package's number of a candidate → its principles."""
    prompt_ids: dict[tuple[str, ...], int] = field(default_factory=dict[tuple[str, ...], int])

    def evaluate(self, batch: list[Problem], candidate: Candidate, capture_traces: bool = False) -> Any:
        """Roll a candidate out: on a minibatch with as many samples as a group has, elsewhere with one."""
        from gepa.core.adapter import EvaluationBatch

        principles = principles_of(candidate)
        prompt_id, scores = self.calls.answer(self._roll_out(batch, principles))
        self.prompt_ids[principles] = prompt_id
        return EvaluationBatch(
            outputs=[None] * len(batch), scores=[score + ABOVE_ZERO for score in scores], trajectories=[SEEN] * len(batch)
        )

    def make_reflective_dataset(self, candidate: Candidate, eval_batch: Any, components_to_update: list[int]) -> Any:
        """Return no records: the editor reads the rollouts themselves."""
        return dict.fromkeys(components_to_update, ())

    def propose(self, candidate: Candidate, reflective_dataset: Any, components_to_update: list[int]) -> Candidate:
        """Let the editor mutate the candidate in the light of its minibatch; return the slots that changed, none without a child."""
        principles = self.calls.answer(self._mutate(principles_of(candidate)))
        child = candidate if principles is None else candidate_of(principles, candidate)
        return {slot: text for slot, text in child.items() if text != candidate[slot]}

    def stop(self, state: Any) -> bool:
        """Commit between two iterations, and stop before one that the budget may not last for."""
        if not self.calls.commit():
            return False
        return self.harness.rollouts_left < 2 * MINIBATCH * self.harness.group_size + len(held_out(self.harness))

    def on_evaluation_start(self, event: Mapping[str, Any]) -> None:
        """Note the parents of the candidate that is evaluated next."""
        known = [self.candidates[number] for number in event["parent_ids"] if number in self.candidates]
        self.parents = [self.prompt_ids[principles] for principles in known]

    def on_valset_evaluated(self, event: Mapping[str, Any]) -> None:
        """Note the number of a candidate that joined."""
        self.candidates[event["candidate_idx"]] = principles_of(event["candidate"])

    async def _roll_out(self, problems: Sequence[Problem], principles: Sequence[str]) -> tuple[int, list[float]]:
        minibatch = len(problems) == MINIBATCH and problems[0].split is Split.TRAIN
        self.traces = await self.harness.roll_out(principles, problems, self.harness.group_size if minibatch else 1, self.parents)
        return self.traces[0].prompt_id, [sum(group.graded_rewards) / max(1, len(group.graded_rewards)) for group in self.traces]

    async def _mutate(self, principles: tuple[str, ...]) -> list[str] | None:
        parent = SystemPrompt(self.traces[0].prompt_id, principles, Rating(), Lineage(NAME))
        child = await mutate(Birth(NAME, (parent,), 0), self.traces, await self.harness.editor(), self.harness.limits)
        return list(child.principles) if isinstance(child, Child) and len(child.principles) <= SLOTS else None


class Quiet:
    """A logger for the package that says nothing: what it does is in the run's own logs."""

    def log(self, message: str) -> None:
        """Drop a line."""


def held_out(harness: Harness) -> Sequence[Problem]:
    """Return the problems that candidates are compared on: the validation split; without one, as in the package, the training split."""
    return harness.validation or harness.training


class Gepa:
    """The package as an optimizer of this harness."""

    async def optimise(self, harness: Harness) -> Sequence[str]:
        """Run the package to the end of the budget; return the candidate with the highest mean score on the held-out problems."""
        try:
            from gepa.api import optimize
        except ModuleNotFoundError as error:
            raise UsageError(f"method {NAME} needs {error.name}; install it with: pip install 'espl-bench[gepa]'") from error
        adapter = Adapter(harness, ReplayedCalls.of(harness))
        untyped: Any = optimize  # its protocols ask for what an adapter need not have
        result = await asyncio.to_thread(
            untyped,
            seed_candidate=candidate_of(harness.root),
            trainset=list(harness.training),
            valset=list(held_out(harness)),
            adapter=adapter,
            custom_candidate_proposer=adapter.propose,
            module_selector="all",
            reflection_minibatch_size=MINIBATCH,
            use_merge=True,
            stop_callbacks=adapter.stop,
            callbacks=[adapter],
            logger=Quiet(),
            seed=seed_for(harness.seed, NAME),
            track_best_outputs=False,
        )
        return principles_of(result.best_candidate)


OPTIMIZER: Final = Gepa()
GEPA: Final = Method(
    name=NAME,
    summary="the package gepa evolves a prompt: Pareto front over validation problems, minibatch acceptance, merging; weights frozen",
    optimizer=NAME,
    population_size=1_000,
)
