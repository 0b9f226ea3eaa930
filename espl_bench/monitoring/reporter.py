"""Progress events of a run. The loop reports them; their display is up to the watcher (cli/display.py)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from espl_bench.config.run_config import RunConfig
from espl_bench.runs.summary import Summary
from espl_bench.types import Outcome, Split


@dataclass(frozen=True, slots=True)
class StepReport:
    """One finished iteration."""

    step: int
    """Iterations finished, this one included: 1 … steps."""
    reward: float
    """Mean reward of the iteration's rollouts."""
    outcomes: Mapping[Outcome, float]
    """Share of each outcome among the iteration's rollouts."""
    population: int
    born: tuple[int, ...]
    rejected: tuple[str, ...]
    """Reasons why children were rejected."""
    tokens_per_second: float
    """Tokens sampled in rollouts and reflections, per second of this iteration."""
    seconds: float
    learned: Mapping[str, float] = field(default_factory=dict[str, float])
    """Metrics of the training step; empty if weights do not learn."""


@dataclass(frozen=True, slots=True)
class EvalReport:
    """One evaluation."""

    step: int
    split: Split
    score: float
    outcomes: Mapping[Outcome, float]
    prompt_id: int
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    """Score of each of the environment's parts, if it has any."""


class Reporter(Protocol):
    """Receives a run's progress events."""

    def started(self, config: RunConfig, folder: Path, step: int) -> None:
        """Handle the start of a run at `step` (0 unless resumed)."""
        ...

    def evaluating(self, split: Split, done: int, total: int) -> None:
        """Handle progress of an evaluation: `done` of `total` episodes are sampled."""
        ...

    def stepped(self, report: StepReport) -> None:
        """Handle the end of an iteration."""
        ...

    def evaluated(self, report: EvalReport) -> None:
        """Handle the end of an evaluation."""
        ...

    def stuck(self, message: str) -> None:
        """Handle what needs attention while the run goes on: stuck rollouts, a tracker that failed, an adapter's limits. One line."""
        ...

    def finished(self, summary: Summary, folder: Path) -> None:
        """Handle the end of the run; summary.json is written."""
        ...


class Silent:
    """Ignores every event."""

    def started(self, config: RunConfig, folder: Path, step: int) -> None:
        """Do nothing."""

    def evaluating(self, split: Split, done: int, total: int) -> None:
        """Do nothing."""

    def stepped(self, report: StepReport) -> None:
        """Do nothing."""

    def evaluated(self, report: EvalReport) -> None:
        """Do nothing."""

    def stuck(self, message: str) -> None:
        """Do nothing."""

    def finished(self, summary: Summary, folder: Path) -> None:
        """Do nothing."""
