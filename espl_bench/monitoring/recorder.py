"""Write a run's records as it goes: log rows, rollouts and commits; and report progress to its watcher.

Only the timing log has clock readings, so that a resumed run's other logs equal an uninterrupted run's byte for byte.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from espl_bench.accounting.ledger import Ledger
from espl_bench.evolution.operators.proposal import Child
from espl_bench.evolution.population import Population
from espl_bench.evolve import Generation
from espl_bench.monitoring.reporter import EvalReport, Reporter, StepReport
from espl_bench.rollouts.evaluate import Evaluation
from espl_bench.rollouts.outcomes import outcome_rates
from espl_bench.rollouts.tool_use import tool_use
from espl_bench.runs.checkpoints import Save
from espl_bench.runs.log_rows import EvaluationRow, LearningCost, MetricsRow, TimingRow
from espl_bench.runs.population_events import BornEvent, PopulationEvent, RatedEvent, RejectedEvent
from espl_bench.runs.rollout_rows import rollout_rows
from espl_bench.runs.run_dir import TRIAL, Log, RunDir
from espl_bench.types import SystemPrompt, TrajectoryGroup


class RunRecorder:
    """Writes one run's records."""

    def __init__(self, run_dir: RunDir, ledger: Ledger, reporter: Reporter, *, has_tools: bool = False) -> None:
        """Keep the ledger, which is read at every commit. `has_tools`: whether the environment has tools."""
        self.run_dir = run_dir
        self.has_tools = has_tools
        self.ledger = ledger
        self.reporter = reporter
        self._tokens_before = _sampled(ledger)

    @property
    def folder(self) -> Path:
        """Return the run's folder."""
        return self.run_dir.path

    def root(self, prompt: SystemPrompt) -> None:
        """Record the population's first prompt."""
        self._event(BornEvent.of(0, prompt, None))

    def iteration(
        self,
        step: int,
        groups_KP: Sequence[TrajectoryGroup],
        generation: Generation,
        shown: SystemPrompt,
        learned: Mapping[str, float],
        seconds: float,
    ) -> None:
        """Record a finished iteration; `step` counts it."""
        rollouts = [rollout for group in groups_KP for rollout in group.trajectories_G]
        graded = [reward for group in groups_KP for reward in group.graded_rewards]
        reward = sum(graded) / len(graded) if graded else 0.0
        outcomes = outcome_rates(rollouts)
        self.run_dir.write_rollouts(step, [row.encode() for row in rollout_rows(groups_KP)])
        self._population(step, generation)
        metrics = MetricsRow(
            step=step,
            reward=reward,
            rewards=generation.means,
            outcomes=outcomes,
            population=len(generation.population.members),
            shown=shown.id,
            generated_tokens=sum(rollout.generated_tokens for rollout in rollouts),
            train=learned,
            tools=tool_use(rollouts) if self.has_tools else {},
        )
        self.run_dir.append(Log.METRICS, metrics.encode())
        tokens = _sampled(self.ledger)
        speed = (tokens - self._tokens_before) / seconds
        self._tokens_before = tokens
        self.run_dir.append(Log.TIMING, TimingRow(step, seconds, speed).encode())
        self.reporter.stepped(
            StepReport(
                step=step,
                reward=reward,
                outcomes=outcomes,
                population=len(generation.population.members),
                born=tuple(prompt.id for prompt, _ in generation.born),
                rejected=tuple(child.reason for child in generation.rejected),
                tokens_per_second=speed,
                seconds=seconds,
                learned=dict(learned),
            )
        )

    def born(self, step: int, prompt: SystemPrompt, child: Child) -> None:
        """Record a prompt that joined the population outside an iteration."""
        self._event(BornEvent.of(step, prompt, child))

    def trial(self, step: int, groups: Sequence[TrajectoryGroup]) -> None:
        """Store the rollouts that judged an iteration's children, if there were any."""
        if groups:
            self.run_dir.write_rollouts(step, [row.encode() for row in rollout_rows(groups)], TRIAL)

    def _population(self, step: int, generation: Generation) -> None:
        """Record every rating, birth and rejection."""
        ratings = {prompt: (rating.mu, rating.sigma) for prompt, rating in generation.ratings.items()}
        self._event(RatedEvent(step, generation.means, ratings))
        for prompt, child in generation.born:
            self._event(BornEvent.of(step, prompt, child))
        for child in generation.rejected:
            self._event(RejectedEvent(step, child.origin, child.parent_ids, child.reason, child.detail, written=child.written))

    def _event(self, event: PopulationEvent) -> None:
        self.run_dir.append(Log.POPULATION, event.encode())

    def evaluation(self, result: Evaluation) -> None:
        """Record a finished evaluation, with the cost of learning up to then.

        Its rollouts are written first: a row without them could not be verified.
        """
        self.run_dir.write_rollouts(result.step, [row.encode() for row in rollout_rows(result.groups_I)], result.split)
        row = EvaluationRow(
            step=result.step,
            split=result.split,
            score=result.score,
            prompt_id=result.prompt_id,
            outcomes=result.outcomes,
            spent=LearningCost.of(self.ledger.totals()),
            measures=result.measures,
            parts=result.part_scores,
            tools=tool_use([rollout for group in result.groups_I for rollout in group.trajectories_G]) if self.has_tools else {},
        )
        self.run_dir.append(Log.EVALUATIONS, row.encode())
        self.reporter.evaluated(EvalReport(result.step, result.split, result.score, result.outcomes, result.prompt_id, result.part_scores))

    async def commit(self, step: int, population: Population, save: Save) -> None:
        """Commit everything up to `step`."""
        await self.run_dir.commit(step, population.to_json(), self.ledger.totals(), save)


def _sampled(ledger: Ledger) -> int:
    totals = ledger.totals()
    return totals.generated_tokens + totals.reflection_tokens
