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
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

CALIBRATION = Path(__file__).with_name("sweep_calibration.json")
METHODS, SEEDS = ("rl_only", "espl"), 4
OPTIONS = {"steps": 4, "eval_samples": 1, "eval_every": 0, "checkpoint_every": 1}


@dataclass(frozen=True)
class Calibration:
    """What was measured, in seconds unless it says otherwise."""

    plain_s: float | None
    """A cell as a process of its own, mean; None: not measured, nor the next two."""
    one_s: float | None
    """All cells on one worker."""
    two_s: float | None
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
    driver_s: float
    """The driver's own time for an event: placing, losing or ending a cell."""
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


def on_ray(grid: Path, out: Path, workers: int) -> float:
    """Seconds of the sweep, the driver's own start and Ray's left out."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": workers, "include_dashboard": False})
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
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        spans = [span for made in attempts(out).values() for span in made]
        return max(end for _, end in spans) - min(start for start, _ in spans)
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
    one = on_ray(grid, folder / "one", 1)
    two = on_ray(grid, folder / "two", 2)
    return replace(calibrate(folder / "one"), plain_s=alone, one_s=one, two_s=two, load=load)


def calibrate(out: Path) -> Calibration:
    """What a finished, undisturbed sweep tells of its cells."""
    steps, rests, starts = [], [], []
    for cell, [(placed, ended)] in attempts(out).items():
        seconds = [json.loads(line)["seconds"] for line in (out / cell / "timing.jsonl").read_text().splitlines()]
        began = (out / cell / "rollouts/step_000001.jsonl").stat().st_mtime - seconds[0]
        steps.extend(seconds)
        starts.append(began - placed)
        rests.append(ended - began - sum(seconds))
    return Calibration(
        plain_s=None,
        one_s=None,
        two_s=None,
        cells=len(starts),
        start_s=statistics.median(starts),
        between_s=statistics.median(gaps(out)),
        step_s=statistics.median(steps),
        evaluation_s=statistics.median(rests),
        driver_s=driver(),
        load=os.getloadavg()[0],
        cores=len(os.sched_getaffinity(0)),
    )


def gaps(out: Path) -> list[float]:
    """Seconds between the end of a cell and the placing of the one that took its room."""
    spans = [span for made in attempts(out).values() for span in made]
    ends = sorted(end for _, end in spans)
    late = sorted(start for start, _ in spans if start > ends[0])
    return [start - end for end, start in zip(ends, late, strict=False)]


def driver(events: int = 100) -> float:
    """Seconds in which the driver writes one event down: it does little else."""
    from espl_bench.sweep.journal import Journal
    from espl_bench.sweep.processes import Job, JobResult, RunStatus
    from espl_bench.sweep.storage import Storage

    with TemporaryDirectory() as folder:
        journal = Journal(Storage.open(folder))
        began = time.monotonic()
        for number in range(events // 2):
            job = Job(Path(f"cell{number}"), (), 1)
            journal.placed(job, "node/1")
            journal.ended(JobResult(job, RunStatus.FINISHED))
        return (time.monotonic() - began) / events


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--write", action="store_true", help=f"store the figures in {CALIBRATION.name}")
    parser.add_argument("--of", type=Path, metavar="SWEEP", help="measure nothing, read a finished sweep instead; no scaling then")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with TemporaryDirectory() as folder:
        found = calibrate(options.of) if options.of else measure(Path(folder))
    print(f"load average: {found.load:.1f} on {found.cores} cores")
    if found.plain_s and found.one_s and found.two_s:
        print(f"a cell as a plain process: {found.plain_s:.1f} s")
        print(f"{found.cells} cells: one worker {found.one_s:.0f} s, two {found.two_s:.0f} s, ratio {found.two_s / found.one_s:.2f}")
        print(f"the sweep's own overhead: {found.one_s / found.cells - found.plain_s:+.2f} s a cell")
    print(f"the driver: {found.driver_s * 1e3:.0f} ms an event")
    print(f"of a cell: {found.between_s:.1f} s until placed, {found.start_s:.1f} s start, ", end="")
    print(f"{found.step_s:.2f} s a step, {found.evaluation_s:.1f} s the rest")
    if options.write:
        CALIBRATION.write_text(json.dumps(asdict(found), indent=2) + "\n")


if __name__ == "__main__":
    main()
