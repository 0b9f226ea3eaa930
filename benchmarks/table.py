"""How long `espl-bench table` takes over many runs, and how much memory: `python benchmarks/table.py`.

Makes summaries of 500 runs (20 methods, 5 environments, 5 seeds) of 100 items with 10 samples each, runs the command in a
process of its own in each format, and prints seconds and peak memory. `--one` puts all 100 methods on one environment.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from espl_bench.accounting.usage import LedgerTotals, Spent
from espl_bench.runs.summary import CurvePoint, Summary
from espl_bench.seeding import rng_for

RUNS, SEEDS, ITEMS, SAMPLES, STEPS = 500, 5, 100, 10, 40
FORMATS = ("screen", "markdown", "latex", "html", "csv", "json")
REPORT = (
    "import resource,sys;from espl_bench.cli.app import invoke;code=invoke(sys.argv[1:]);usage=resource.getrusage(resource.RUSAGE_SELF);"
)
PEAK = "sys.stderr.write(f'{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}');sys.exit(code)"


def summary(method: int, env: int, seed: int) -> Summary:
    """One run of a method whose truth grows with its number."""
    rng = rng_for(0, "table", method, env, seed)
    hard_I = rng_for(0, "items", env).normal(0, 2, ITEMS)
    chance_I = 1 / (1 + np.exp(-(0.1 * (method % 20) - 1 + rng.normal(0, 0.3) + hard_I)))
    scores_IK = (rng.random((ITEMS, SAMPLES)) < chance_I[:, None]).astype(float)
    counts = dict.fromkeys((name for name in LedgerTotals.model_fields if name not in ("wall_s", "device_s")), 1000)
    per_step = {"rollouts": 150, "generated_tokens": 9000, "reflection_tokens": 90, "train_tokens": 9000}
    points = [
        CurvePoint(
            step=step,
            split="validation",
            score=step / STEPS * scores_IK.mean(),
            spent=Spent(**{name: each * step for name, each in per_step.items()}, seconds=step),
        )
        for step in range(0, STEPS + 1, 10)
    ]
    return Summary(
        run_id=f"m{method}-e{env}-s{seed}",
        method=f"method_{method:02}",
        env=f"env{env}",
        env_options={},
        model="made",
        engine="hf",
        seed=seed,
        steps=STEPS,
        score=float(scores_IK.mean()),
        k=SAMPLES,
        n_items=ITEMS,
        validation_score=0.5,
        outcomes={"correct": float(scores_IK.mean()), "wrong": 1 - float(scores_IK.mean())},
        sample_scores=tuple(map(tuple, scores_IK.tolist())),
        ledger=LedgerTotals(**counts, wall_s=1.0, device_s=1.0),
        curve=tuple(points),
        shown_prompt=(),
    )


def main() -> None:
    """Parse the command line, make the runs, time the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--one", action="store_true", help="all methods on one environment")
    environments = 1 if parser.parse_args().one else 5
    with TemporaryDirectory() as folder:
        for place in range(RUNS):
            method, rest = divmod(place, SEEDS * environments)
            made = summary(method, *divmod(rest, SEEDS))
            (Path(folder) / made.run_id).mkdir()
            (Path(folder) / made.run_id / "summary.json").write_text(made.to_json())
        for form in FORMATS:
            started = time.monotonic()
            command = [sys.executable, "-c", REPORT + PEAK, "table", folder, "--format", form, "--match", "rollouts"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            cpu, peak = done.stderr.split()
            seconds = time.monotonic() - started
            print(f"{form}: {seconds:.1f} s ({float(cpu):.1f} s of CPU), peak {int(peak) / 2**20:.2f} GiB, {len(done.stdout):,} characters")


if __name__ == "__main__":
    main()
