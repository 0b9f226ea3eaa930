"""How long a run would take, found by really running two of its steps and one pass of its evaluations: `--dry-run`.

Completions are cut at `MOST_TOKENS`, or a dry run of long ones would take as long as many a whole run.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from espl_bench import runner
from espl_bench.config.run_config import RunConfig
from espl_bench.dry_run.work import Estimate
from espl_bench.runs.run_dir import Log, RunDir

STEPS = 2
"""The first step warms up; the last one counts."""

MOST_TOKENS = 256
"""Tokens of a completion while time is measured."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured."""

    step_s: float
    """Seconds of one iteration; 0 for a method that makes none."""
    eval_rollout_s: float
    """Seconds of one evaluation episode among many."""
    rollout_tokens: float
    """Tokens generated per episode by the untrained policy."""
    cut_at: int | None
    """Tokens at which completions were cut to measure; None if the configuration's own limits were used."""

    def seconds(self, work: Estimate) -> float:
        """The whole run, if it goes on as it began."""
        return work.steps * self.step_s + work.eval_rollouts * self.eval_rollout_s

    def most_seconds(self, work: Estimate) -> float:
        """The same if every completion used all its tokens, at the measured time per token; for completions that were cut."""
        longest = (work.max_generated_tokens + work.max_eval_tokens) / (work.rollouts + work.eval_rollouts)
        return self.seconds(work) * max(1.0, longest / max(1.0, self.rollout_tokens))


def probe(config: RunConfig) -> Speed:
    """Run a shortened copy of a configuration in a temporary folder. Raises EsplError as the run itself would."""
    limits = {"max_tokens": config.max_tokens, "editor_max_tokens": config.editor_max_tokens}
    cut = {name: min(limit, MOST_TOKENS) for name, limit in limits.items()}
    short = config.model_copy(update={"steps": STEPS, "eval_every": 0, "test_every": 0, "eval_samples": 1, **cut})
    with TemporaryDirectory(prefix="espl-bench-") as folder:
        path = Path(folder) / "probe"
        spent = runner.run(short, path).ledger
        steps = [row["seconds"] for row in RunDir.open(path).read_log(Log.TIMING)]
    return Speed(
        step_s=steps[-1] if steps else 0.0,
        eval_rollout_s=(spent.wall_s - sum(steps)) / spent.eval_rollouts,
        rollout_tokens=(spent.generated_tokens + spent.eval_tokens) / (spent.rollouts + spent.eval_rollouts),
        cut_at=None if cut == limits else MOST_TOKENS,
    )
