"""What a run tells whoever watches it. The loop reports; how it looks is the watcher's business (display.py)."""

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
    """Reasons of children that were not born."""
    tokens_per_second: float
    """Tokens sampled in rollouts and reflections, per second of this iteration."""
    seconds: float
    learned: Mapping[str, float] = field(default_factory=dict[str, float])
    """What the training step measured; empty where weights do not learn."""


@dataclass(frozen=True, slots=True)
class EvalReport:
    """One evaluation."""

    step: int
    split: Split
    score: float
    outcomes: Mapping[Outcome, float]
    prompt_id: int


class Reporter(Protocol):
    """Watches a run."""

    def started(self, config: RunConfig, folder: Path, step: int) -> None:
        """A run begins at `step` (0 unless resumed)."""
        ...

    def evaluating(self, split: Split, done: int, total: int) -> None:
        """An evaluation has sampled `done` of `total` episodes."""
        ...

    def stepped(self, report: StepReport) -> None:
        """An iteration ended."""
        ...

    def evaluated(self, report: EvalReport) -> None:
        """An evaluation ended."""
        ...

    def stuck(self, message: str) -> None:
        """Rollouts keep the run waiting; the message is one line that names them."""
        ...

    def finished(self, summary: Summary, folder: Path) -> None:
        """The run is complete; summary.json is written."""
        ...


class Silent:
    """Says nothing."""

    def started(self, config: RunConfig, folder: Path, step: int) -> None:
        """Say nothing."""

    def evaluating(self, split: Split, done: int, total: int) -> None:
        """Say nothing."""

    def stepped(self, report: StepReport) -> None:
        """Say nothing."""

    def evaluated(self, report: EvalReport) -> None:
        """Say nothing."""

    def stuck(self, message: str) -> None:
        """Say nothing."""

    def finished(self, summary: Summary, folder: Path) -> None:
        """Say nothing."""
