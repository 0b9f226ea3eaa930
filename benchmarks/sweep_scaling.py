"""How a sweep scales and what it adds to its cells: `python benchmarks/sweep_scaling.py`; needs the extra `ray`.

Runs 8 short cells (rl_only and espl on rulebook, four seeds) three times: each as a plain `espl-bench run`, one after another;
as a sweep on a Ray cluster with one worker; and with two. Prints the time of two workers as a share of one worker's, and the
sweep's own overhead: its seconds per cell on one worker beyond those of the plain process, which starts Python and torch as well.
With --write it stores what scale_sim.py is calibrated with.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

CALIBRATION = Path(__file__).with_name("sweep_calibration.json")
METHODS, SEEDS = ("rl_only", "espl"), 4
OPTIONS = {"steps": 4, "eval_samples": 1, "eval_every": 0, "checkpoint_every": 1}


@dataclass(frozen=True)
class Calibration:
    """What was measured, in seconds unless it says otherwise."""

    plain_s: float
    """A cell as a process of its own, mean."""
    one_s: float
    """All cells on one worker."""
    two_s: float
    """All cells on two workers."""
    cells: int
    start_s: float
    """From the placing of a cell to its first iteration: imports, the model, the first commit; median, one worker."""
    between_s: float
    """From the end of a cell to the placing of the next one on the same worker: Ray's new process and the driver; median."""
    step_s: float
    """An iteration, median over both methods."""
    evaluation_s: float
    """The test at the end of a cell, median: what is left of a cell's time."""
    driver_cpu_s: float
    """Processor time of the driver per cell, its start left out."""
    load: float
    """The machine's load average before: above its cores others were computing."""
    cores: int


def arguments(method: str, seed: int) -> list[str]:
    """A plain run's."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    return [sys.executable, "-m", "espl_bench", "run", f"--method={method}", "--env=rulebook", f"--seed={seed}", "--quiet", *options]


def plain(folder: Path) -> float:
    """Seconds per cell as processes of their own."""
    began = time.monotonic()
    for seed in range(SEEDS):
        for method in METHODS:
            command = [*arguments(method, seed), f"--out={folder / f'{method}-{seed}'}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.monotonic() - began) / (SEEDS * len(METHODS))


def on_ray(grid: Path, out: Path, workers: int) -> tuple[float, float]:
    """Seconds of the sweep without the driver's own start and Ray's, and processor seconds of the driver."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": workers})
    try:
        command = [
            sys.executable,
            "-m",
            "espl_bench",
            "sweep",
            "run",
            str(grid),
            "--out",
            str(out),
            "--address",
            cluster.address,
            "--quiet",
        ]
        before = os.times()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        spans = [span for made in attempts(out).values() for span in made]
        seconds = max(end for _, end in spans) - min(start for start, _ in spans)
        return seconds, after.children_user + after.children_system - before.children_user - before.children_system
    finally:
        cluster.shutdown()


def attempts(out: Path) -> dict[str, list[tuple[float, float]]]:
    """Cell → placed and ended, in seconds since the epoch."""
    found: dict[str, list[tuple[float, float]]] = {}
    for path in out.glob("attempts/*.json"):
        made = json.loads(path.read_text())["attempts"]
        found[path.stem] = [tuple(datetime.fromisoformat(each[name]).timestamp() for name in ("started", "ended")) for each in made]
    return found


def measure(folder: Path) -> Calibration:
    """Everything, one after the other."""
    load = os.getloadavg()[0]
    grid = folder / "grid.toml"
    options = "\n".join(f"{name} = {value}" for name, value in OPTIONS.items())
    grid.write_text(f"methods = {json.dumps(METHODS)}\nenvironments = ['rulebook']\nseeds = {SEEDS}\n[options]\n{options}\n")
    alone = plain(folder / "plain")
    one, cpu = on_ray(grid, folder / "one", 1)
    two, _ = on_ray(grid, folder / "two", 2)
    idle_cpu = finished_again(grid, folder / "one")
    spans = sorted(span for made in attempts(folder / "one").values() for span in made)
    steps, rests, starts = [], [], []
    for cell, [(placed, ended)] in attempts(folder / "one").items():
        run = folder / "one" / cell
        seconds = [json.loads(line)["seconds"] for line in (run / "timing.jsonl").read_text().splitlines()]
        began = (run / "checkpoints").stat().st_ctime if not seconds else (run / "rollouts/step_000001.jsonl").stat().st_mtime - seconds[0]
        steps.extend(seconds)
        starts.append(began - placed)
        rests.append(ended - began - sum(seconds))
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(spans)]
    return Calibration(
        plain_s=alone,
        one_s=one,
        two_s=two,
        cells=len(spans),
        start_s=statistics.median(starts),
        between_s=statistics.median(gaps),
        step_s=statistics.median(steps),
        evaluation_s=statistics.median(rests),
        driver_cpu_s=max(0.0, cpu - idle_cpu) / len(spans),
        load=load,
        cores=len(os.sched_getaffinity(0)),
    )


def finished_again(grid: Path, out: Path) -> float:
    """Processor seconds of a driver that finds everything finished: its start, and Ray's on this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        command = [
            sys.executable,
            "-m",
            "espl_bench",
            "sweep",
            "run",
            str(grid),
            "--out",
            str(out),
            "--address",
            cluster.address,
            "--quiet",
        ]
        before = os.times()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system
    finally:
        cluster.shutdown()


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--write", action="store_true", help=f"store the figures in {CALIBRATION.name}")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with TemporaryDirectory() as folder:
        found = measure(Path(folder))
    print(f"load average before: {found.load:.1f} on {found.cores} cores")
    print(f"a cell as a plain process: {found.plain_s:.1f} s")
    print(f"{found.cells} cells: one worker {found.one_s:.0f} s, two workers {found.two_s:.0f} s, ratio {found.two_s / found.one_s:.2f}")
    print(f"the sweep's own overhead: {found.one_s / found.cells - found.plain_s:+.2f} s a cell")
    print(f"the driver's processor time: {found.driver_cpu_s:.2f} s a cell")
    print(f"of a cell: {found.between_s:.1f} s until placed, {found.start_s:.1f} s start, ", end="")
    print(f"{found.step_s:.2f} s a step, {found.evaluation_s:.1f} s the rest")
    if options.write:
        CALIBRATION.write_text(json.dumps(asdict(found), indent=2) + "\n")


if __name__ == "__main__":
    main()
