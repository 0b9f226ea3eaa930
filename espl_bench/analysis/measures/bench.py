"""A finished run on the bench: opened with its final weights, with a ledger of its own for what measuring costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from espl_bench.accounting.ledger import Ledger, MeteredClient, Purpose
from espl_bench.accounting.usage import LedgerTotals
from espl_bench.engines.engine import MeasurableEngine, ScoringEngine
from espl_bench.errors import UsageError
from espl_bench.loop import RunContext
from espl_bench.rollouts.batches import whole_split
from espl_bench.rollouts.evaluate import Evaluation, evaluate
from espl_bench.runs.measures_file import Estimate
from espl_bench.runs.summary import Summary
from espl_bench.stats import mean_interval, seed_interval
from espl_bench.types import ROOT_ORIGIN, Lineage, Rating, Split, SystemPrompt

Tell = Callable[[str, int, int], None]
"""Callback with what is measured, its finished episodes, and their total; 0 of 0 where there are none."""


@dataclass
class Bench:
    """A run to be measured."""

    summary: Summary
    context: RunContext
    weights: Path
    """Checkpoint of the run."""
    fresh: Path
    """Weights that change nothing of the base, as the run began with."""
    tell: Tell
    spent: list[LedgerTotals] = field(default_factory=list[LedgerTotals])
    """What second runs cost, which have ledgers of their own."""

    @property
    def engine(self) -> MeasurableEngine:
        """Return the engine. Raises UsageError if it shows no distributions."""
        engine = self.context.engine
        if not isinstance(engine, MeasurableEngine):
            raise UsageError(f"engine {self.context.config.engine} cannot be measured, as its distributions are not shown; use --engine hf")
        return engine

    @property
    def scoring(self) -> ScoringEngine:
        """Return the engine. Raises UsageError if it reads no given tokens."""
        engine = self.context.engine
        if not isinstance(engine, ScoringEngine):
            raise UsageError(f"engine {self.context.config.engine} cannot be measured, as it reads no given tokens; use --engine hf")
        return engine

    @property
    def ledger(self) -> Ledger:
        """Return the ledger of the measuring."""
        return self.context.ledger

    def totals(self) -> LedgerTotals:
        """Return what the measuring cost, second runs included; their time is part of the whole."""
        own = self.ledger.totals()
        fields = [name for name in LedgerTotals.model_fields if name != "wall_s"]
        return own.model_copy(update={name: sum(getattr(each, name) for each in (own, *self.spent)) for name in fields})

    async def test(self, what: str, principles: Sequence[str], *, base: bool = False, context: RunContext | None = None) -> Evaluation:
        """Evaluate a prompt on the whole test of the run's task, or of another, with the present weights or with those of the base."""
        context, engine = context or self.context, self.context.engine
        client = MeteredClient(await (engine.reference() if base else engine.current()), self.ledger, Purpose.EVALUATION)
        prompt = SystemPrompt(id=0, principles=tuple(principles), rating=Rating(), lineage=Lineage(ROOT_ORIGIN))
        problems, samples = whole_split(context.env, Split.TEST), context.config.evaluation.eval_samples
        result = await evaluate(client, context.spec, prompt, problems, samples, 0, partial(self.tell, what))
        self.ledger.record_episodes(Purpose.EVALUATION, len(problems) * samples)
        return result


def score_of(evaluation: Evaluation) -> Estimate:
    """Return the mean score with its interval over items."""
    low, high = mean_interval([evaluation.item_scores])
    return Estimate(mean=evaluation.score, low=low, high=high)


def over_items(values: Sequence[float]) -> Estimate:
    """Return the mean of one number per item with its t interval."""
    low, high = seed_interval(values) or (None, None)
    return Estimate(mean=sum(values) / len(values), low=low, high=high)
