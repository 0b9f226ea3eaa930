"""Measure how long a run would take, by running two of its steps and one pass of its evaluations: `--dry-run`.

Completions are cut at `MOST_TOKENS`, or a dry run with long ones would take as long as some whole runs.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from espl_bench import runner
from espl_bench.config.run_config import RunConfig
from espl_bench.dry_run.work import Estimate
from espl_bench.runs.log_rows import read_timing
from espl_bench.runs.run_dir import RunDir

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
    rollout_tokens: float
    """Tokens generated per episode by the untrained policy."""
    cut_at: int | None
    """Tokens at which completions were cut for the measurement; None if the configuration's own limits were used."""

    def seconds(self, work: Estimate) -> float:
        """Estimate the seconds of the whole run, if it continues as measured."""
        return work.steps * self.step_s + work.eval_rollouts * self.eval_rollout_s

    def most_seconds(self, work: Estimate) -> float:
        """Estimate the same if every completion used all its tokens, at the measured time per token; for completions that were cut."""
        longest = (work.max_generated_tokens + work.max_eval_tokens) / (work.rollouts + work.eval_rollouts)
        return self.seconds(work) * max(1.0, longest / max(1.0, self.rollout_tokens))


def probe(config: RunConfig) -> Speed:
    """Run a shortened copy of a configuration in a temporary folder. Raises EsplError as the run itself would."""
    limits = {"max_tokens": config.sampling.max_tokens, "editor_max_tokens": config.editor.max_tokens}
    cut = {name: min(limit, MOST_TOKENS) for name, limit in limits.items()}
    short = config.varied(steps=STEPS, eval_every=0, test_every=0, eval_samples=1, **cut)
    with TemporaryDirectory(prefix="espl-bench-") as folder:
        path = Path(folder) / "probe"
        spent = runner.run(short, path).ledger
        steps = [row.seconds for row in read_timing(RunDir.open(path))]
    return Speed(
        step_s=steps[-1] if steps else 0.0,
        eval_rollout_s=(spent.wall_s - sum(steps)) / spent.eval_rollouts,
        rollout_tokens=(spent.generated_tokens + spent.eval_tokens) / (spent.rollouts + spent.eval_rollouts),
        cut_at=None if cut == limits else MOST_TOKENS,
    )
