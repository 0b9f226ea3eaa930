"""Where the time of a run goes: `python benchmarks/loop.py`.

Runs espl and rl_only on rulebook with as many rollouts, each in a process of its own, and prints: wall time of the espl run,
its peak memory, the share of wall time inside the engine's sample and train calls, and the ratio of an espl iteration to an
rl_only iteration. Iterations are compared by their medians, so that a busy moment of the machine does not decide.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory


@dataclass(frozen=True)
class Measured:
    """One run."""

    wall_s: float
    device_share: float
    step_s: float
    peak_gib: float


def measure(method: str, steps: int, folder: Path) -> Measured:
    """Run a method in a child process and read what it wrote."""
    command = [sys.executable, "-m", "espl_bench", "run", "--method", method, "--env", "rulebook"]
    subprocess.run([*command, "--steps", str(steps), "--out", str(folder), "--quiet"], check=True, stdout=subprocess.DEVNULL)
    ledger = json.loads((folder / "summary.json").read_text())["ledger"]
    seconds = [json.loads(line)["seconds"] for line in (folder / "timing.jsonl").read_text().splitlines()]
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest child so far
    return Measured(ledger["wall_s"], ledger["device_s"] / ledger["wall_s"], statistics.median(seconds), peak_kib / 2**20)


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        rl_only = measure("rl_only", options.steps, Path(folder) / "rl_only")
        espl = measure("espl", options.steps, Path(folder) / "espl")
    print(f"espl, {options.steps} iterations with all evaluations: {espl.wall_s:.0f} s")
    print(f"peak memory of the larger run: {espl.peak_gib:.2f} GiB")
    print(f"inside the engine's sample and train calls: espl {espl.device_share:.1%}, rl_only {rl_only.device_share:.1%}")
    print(f"median iteration: espl {espl.step_s:.2f} s, rl_only {rl_only.step_s:.2f} s, ratio {espl.step_s / rl_only.step_s:.2f}")


if __name__ == "__main__":
    main()
