"""Measure how long a run would take, by running two of its steps and one pass of its evaluations: `--dry-run`.

Completions are cut at `MOST_TOKENS`, or a dry run with long ones would take as long as some whole runs.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from espl_bench import runner
from espl_bench.config.run_config import RunConfig
from espl_bench.dry_run.work import Estimate
from espl_bench.monitoring.reporter import EvalReport, Silent
from espl_bench.rollouts.evaluate import CHUNK
from espl_bench.runs.log_rows import read_timing
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import RunDir
from espl_bench.types import Split

STEPS = 2
"""The first step warms up; the last one counts."""

MOST_TOKENS = 256
"""Tokens of a completion while time is measured."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured speed of a configuration."""

    step_s: float
    """Seconds of one iteration; 0 for a method without iterations."""
    eval_rollout_s: float
    """Seconds of one evaluation episode among many."""
    once_s: float
    """Seconds of everything else, which a run of any length takes once: the first and the last checkpoint, the result."""
    rollout_tokens: float
    """Tokens generated per episode by the untrained policy."""
    cut_at: int | None
    """Tokens at which completions were cut for the measurement; None if the configuration's own limit was used."""
    without_contrast: bool
    """Whether no problem of the measured step had rollouts of different rewards: the step then neither trained nor reflected."""

    def seconds(self, work: Estimate) -> float:
        """Estimate the seconds of the whole run, if it continues as measured."""
        return self.once_s + work.steps * self.step_s + work.eval_rollouts * self.eval_rollout_s

    def most_seconds(self, work: Estimate) -> float:
        """Estimate the same if every completion used all its tokens, at the measured time per token; for completions that were cut."""
        longest = (work.max_generated_tokens + work.max_eval_tokens) / (work.rollouts + work.eval_rollouts)
        sampling_s = self.seconds(work) - self.once_s
        return self.once_s + sampling_s * max(1.0, longest / max(1.0, self.rollout_tokens))


class _Watch(Silent):
    """Adds up the time of the evaluations."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def evaluating(self, split: Split, done: int, total: int) -> None:
        """Begin with the first episode."""
        if done == 0:
            self._began = time.monotonic()

    def evaluated(self, report: EvalReport) -> None:
        """Add the time since."""
        self.seconds += time.monotonic() - self._began


def probe(config: RunConfig, largest: int, folder: Path) -> Speed:
    """Run a shortened copy of a configuration. Raises EsplError as the run itself would.

    Args:
        config: the configuration.
        largest: items of the largest split that is evaluated.
        folder: of the shortened run; the caller removes it.
    """
    limits = {"max_tokens": config.sampling.max_tokens, "editor_max_tokens": config.editor.max_tokens}
    cut = {name: min(limit, MOST_TOKENS) for name, limit in limits.items()}
    samples = max(1, min(config.evaluation.eval_samples, CHUNK // max(1, largest)))  # as many at a time as in the run
    short = config.varied(steps=STEPS, eval_every=0, test_every=0, eval_samples=samples, **cut)
    watch = _Watch()
    spent = runner.run(short, folder, reporter=watch).ledger
    run_dir = RunDir.open(folder)
    steps = [row.seconds for row in read_timing(run_dir)]
    return Speed(
        step_s=steps[-1] if steps else 0.0,
        eval_rollout_s=watch.seconds / spent.eval_rollouts,
        once_s=max(0.0, spent.wall_s - sum(steps) - watch.seconds),
        rollout_tokens=(spent.generated_tokens + spent.eval_tokens) / (spent.rollouts + spent.eval_rollouts),
        cut_at=None if cut["max_tokens"] == limits["max_tokens"] else cut["max_tokens"],
        without_contrast=any(without_contrast(run_dir.read_rollouts(last, RolloutRow.parse)) for last in run_dir.rollout_steps()[-1:]),
    )


def without_contrast(rows: Iterable[RolloutRow]) -> bool:
    """Return whether the graded rollouts of each problem all earned the same, under whatever prompt."""
    rewards: defaultdict[str, set[float]] = defaultdict(set)
    for row in rows:
        if row.outcome.graded:
            rewards[row.problem_id].add(row.reward)
    return all(len(earned) == 1 for earned in rewards.values())
