"""How long a run would take, found by really running two of its steps and one pass of its evaluations: `--dry-run`."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from espl_bench import runner
from espl_bench.config import RunConfig
from espl_bench.estimate import Estimate
from espl_bench.reporter import Silent
from espl_bench.run_dir import Log, RunDir

STEPS = 2
"""The first step warms up; the last one counts."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured."""

    step_s: float
    """Seconds of one iteration; 0 for a method that makes none."""
    eval_rollout_s: float
    """Seconds of one evaluation episode among many."""
    rollout_tokens: float
    """Tokens generated per episode by the untrained policy."""

    def seconds(self, work: Estimate) -> float:
        """The whole run, if it goes on as it began."""
        return work.steps * self.step_s + work.eval_rollouts * self.eval_rollout_s


def probe(config: RunConfig) -> Speed:
    """Run a shortened copy of a configuration in a temporary folder. Raises EsplError as the run itself would."""
    short = config.model_copy(update={"steps": STEPS, "eval_every": 0, "test_every": 0, "eval_samples": 1})
    with TemporaryDirectory(prefix="espl-bench-") as folder:
        path = Path(folder) / "probe"
        spent = runner.run(short, path, Silent()).ledger
        steps = [row["seconds"] for row in RunDir.open(path).read_log(Log.TIMING)]
    return Speed(
        step_s=steps[-1] if steps else 0.0,
        eval_rollout_s=(spent.wall_s - sum(steps)) / spent.eval_rollouts,
        rollout_tokens=(spent.generated_tokens + spent.eval_tokens) / (spent.rollouts + spent.eval_rollouts),
    )
