"""Whether a service trains as the embedded engine does: `python benchmarks/tinker_beside_hf.py`; needs what `make test-tinker` builds.

Runs `espl` on rulebook with the lab model on engine `hf` and, at a Tinker server on this machine (SkyRL's, with the shims of
tests/engines/tinker), on engine `tinker`: the same configuration, seeds and test items. Prints the scores, their paired difference with its
interval, and how far apart the log-probabilities of sampler and trainer were at the service, over all training tokens.
Runs lie under --out; the same command goes on after a stop.
"""

import argparse
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from espl_envs.lab import MODEL

from espl_bench.runs.log_rows import read_metrics
from espl_bench.runs.run_dir import RunDir
from espl_bench.runs.summary import Summary, read_summary
from espl_bench.stats import paired_difference, seed_interval

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "engines" / "tinker"))
from tinker_server import KEY, Server  # noqa: E402

SESSION_S = 1800
"""A service forgets a client that it has not heard of for so long: a busy machine is no reason."""


def compare(out: Path, seeds: int, steps: int, engine: list[str]) -> list[Summary]:
    """The runs of one engine, one after another."""
    options = ["--env=rulebook", "--methods=espl", f"--seeds={seeds}", f"--steps={steps}", "--eval-every=0", "--eval-samples=2"]
    options += ["--checkpoint-every=4", "--jobs=1", "--quiet"]
    began = time.monotonic()
    command = [sys.executable, "-m", "espl_bench", "compare", *options, f"--out={out}", *engine]
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "TINKER_API_KEY": KEY, "TINKER_TELEMETRY": "0"})
    print(f"{out.name}: {time.monotonic() - began:.0f} s")
    return [read_summary(out / f"espl-s{seed}" / "summary.json") for seed in range(seeds)]


def items(runs: list[Summary]) -> np.ndarray:
    """Runs by test items, samples averaged."""
    return np.asarray([run.sample_scores for run in runs]).mean(axis=2)


def tell(name: str, runs: list[Summary]) -> None:
    """One engine's scores."""
    scores = [run.score for run in runs]
    interval = seed_interval(scores)
    spread = "" if interval is None else f", 95 % interval over the seeds {100 * interval[0]:.1f} … {100 * interval[1]:.1f}"
    print(f"{name}: {', '.join(f'{100 * score:.1f}' for score in scores)} %; mean {100 * np.mean(scores):.1f}{spread}")


def furthest(folders: list[Path]) -> tuple[float, float]:
    """The largest |mean of log q - log p| of a step, and the largest log of a token's ratio."""
    trained = [row.train for folder in folders for row in read_metrics(RunDir.open(folder)) if "ratio_max" in row.train]
    gaps = [train["kl_sampler"] for train in trained]
    ratios = [train["ratio_max"] for train in trained]
    return max(math.inf if gap is None else abs(gap) for gap in gaps), max(math.inf if top is None else math.log(top) for top in ratios)


def main() -> None:
    """Run both, then compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/tinker-beside-hf"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--server-python", type=Path, default=ROOT / ".venv-tinker/bin/python")
    parser.add_argument("--port", type=int, default=8124, help="of the server; a run goes on at the address it was begun at")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    python = chosen.server_python.absolute()
    folder, compiled = chosen.out.absolute() / "server", python.parents[1] / "compiled"
    server = Server(python, MODEL, folder, compiled, port=chosen.port, session_timeout_s=SESSION_S)
    here = compare(chosen.out / "hf", chosen.seeds, chosen.steps, ["--engine=hf"])
    server.start()
    try:
        there = compare(chosen.out / "tinker", chosen.seeds, chosen.steps, ["--engine=tinker", f"--base-url={server.url}"])
    finally:
        server.stop()
    tell("hf", here)
    tell("tinker", there)
    gap = paired_difference(items(there), items(here), np.random.default_rng(0))
    print(f"tinker - hf, the same seeds and items: {100 * gap.mean:+.1f}, 95 % interval {100 * gap.low:+.1f} … {100 * gap.high:+.1f}")
    mean, largest = furthest([chosen.out / "tinker" / f"espl-s{seed}" for seed in range(chosen.seeds)])
    print(f"sampler and trainer at the service: {mean:.1e} nats apart in the mean of the worst step, {largest:.1e} at the worst token")


if __name__ == "__main__":
    main()
