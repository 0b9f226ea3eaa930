"""Kill real runs at random moments, resume them, and compare every byte of their end with an unbroken run.

    python benchmarks/kill_campaign.py [--ends 108] [--seed 0] [--workers 2] [--record FILE]

A *case* is a command that starts something (`run`, `compare --jobs 2`, `sweep run --jobs 2`), an environment and a method. It is
run once unbroken. Then it is started again and again, each time killed with SIGKILL one to three times at moments drawn uniformly
over the unbroken duration, and continued until it ends. Half of the kills take the driver alone, half its process group. The end
must equal the unbroken one: logs, rollouts, summaries (without their clocks) and the adapter's weights. Nothing that the campaign
started may outlive it. Linux only: it finds its processes in /proc.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from study_bytes import differences, end_of

ESPL_BENCH = (sys.executable, "-m", "espl_bench")
SHAPE = {"steps": 6, "num_prompts": 2, "batch_size": 4, "group_size": 4, "eval_every": 2, "eval_samples": 1, "checkpoint_every": 2}
"""Short runs with every phase: commits, evaluations between and at the end, births."""
ENVIRONMENTS = ("rulebook", "almanac")
METHODS = ("espl", "rl_only", "reflection_only", "evolution_only")
MARK = "ESPL_CAMPAIGN"
"""Environment variable that all processes of one attempt inherit."""
PATIENCE_S = 600.0
"""Seconds that an attempt may take before the campaign gives up on it."""
ORPHANS_S = 60.0
"""Seconds that processes may take to follow a driver that was killed."""


@dataclass(frozen=True, slots=True)
class Case:
    """One command whose end is known."""

    kind: str
    """run, compare or sweep."""
    env: str
    method: str

    @property
    def name(self) -> str:
        """Return the name in the printed table."""
        return f"{self.kind} · {self.env} · {self.method}"

    def command(self, folder: Path, resumed: bool) -> tuple[str, ...]:
        """Return the command that starts it, or continues it."""
        options = tuple(f"--{name.replace('_', '-')}={value}" for name, value in SHAPE.items())
        match self.kind:
            case "run" if resumed and (folder / "config.json").exists():
                return (*ESPL_BENCH, "resume", str(folder), "--quiet")
            case "run":
                named = (f"--method={self.method}", f"--env={self.env}", "--engine=hf")
                return (*ESPL_BENCH, "run", *named, "--quiet", f"--out={folder}", *options)
            case "compare":
                named = (f"--methods=base,{self.method}", f"--env={self.env}", "--engine=hf", "--seeds=1", "--jobs=2")
                return (*ESPL_BENCH, "compare", *named, "--quiet", f"--out={folder}", *options)
            case _:
                return (*ESPL_BENCH, "sweep", "run", str(_grid(self, folder)), f"--out={folder}", "--jobs=2", "--quiet")


@dataclass(frozen=True, slots=True)
class End:
    """How one attempt ended."""

    case: Case
    kills: int
    fault: str
    """Empty if the end equals the unbroken one."""


def _grid(case: Case, folder: Path) -> Path:
    lines = [f'methods = ["base", "{case.method}"]', f'environments = ["{case.env}"]', "seeds = 1", "[options]"]
    lines += [f"{name} = {value}" for name, value in ({**SHAPE, "engine": '"hf"'}).items()]
    path = folder.with_suffix(".toml")
    path.write_text("\n".join(lines) + "\n")
    return path


def start(command: Sequence[str], mark: str) -> subprocess.Popen[str]:
    """Start a command in a session of its own, recognisable by its mark."""
    environment = os.environ | {MARK: mark, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )


def marked(mark: str) -> list[int]:
    """List the processes that carry the mark."""
    wanted, pids = f"{MARK}={mark}".encode(), list[int]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    pids.append(int(entry.name))
            except OSError:  # ended meanwhile
                continue
    return pids


def outlived(mark: str) -> str:
    """Wait for the processes of a killed driver to follow it; say which do not, and end those."""
    deadline = time.monotonic() + ORPHANS_S
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return f"{len(left)} processes outlived their driver" if left else ""


def unbroken(case: Case, folder: Path) -> tuple[dict[str, str], float]:
    """Run a case to its end; return the bytes of its end and its seconds."""
    began = time.monotonic()
    process = start(case.command(folder, resumed=False), uuid.uuid4().hex)
    _, err = process.communicate(timeout=PATIENCE_S)
    if process.returncode:
        raise SystemExit(f"{case.name} does not run: {err}")
    return end_of(folder), time.monotonic() - began


def broken(case: Case, folder: Path, seconds: float, expected: dict[str, str], rng: random.Random) -> End:
    """Run a case with one to three kills and compare its end."""
    kills, wanted = 0, rng.randint(1, 3)
    for attempt in range(40):
        mark = uuid.uuid4().hex
        process = start(case.command(folder, resumed=attempt > 0), mark)
        moment = rng.uniform(0.0, seconds) if kills < wanted else PATIENCE_S
        try:
            _, err = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            (os.killpg if rng.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
            _, err = process.communicate()
            kills += process.returncode == -signal.SIGKILL
            if fault := outlived(mark):
                return End(case, kills, fault)
            continue
        if process.returncode:
            return End(case, kills, f"exit {process.returncode}: {err.strip()[-300:]}")
        if kills:
            return End(case, kills, differences(end_of(folder), expected))
        shutil.rmtree(folder)  # it ended before its first kill: again from the start
    return End(case, kills, "never ended")


def campaign(cases: Sequence[Case], ends: int, seed: int, workers: int, folder: Path) -> list[End]:
    """Carry out all attempts, the cases in turn; print each end."""
    expected = {case: unbroken(case, folder / f"unbroken-{number}") for number, case in enumerate(cases)}

    def attempt(number: int) -> End:
        case, rng = cases[number % len(cases)], random.Random(f"{seed}/{number}")
        place = folder / f"attempt-{number}"
        known, seconds = expected[case]
        end = broken(case, place, seconds, known, rng)
        print(f"{number:4d}  {case.name:40s} {end.kills} killed  {end.fault or 'equal'}", flush=True)
        if not end.fault:
            shutil.rmtree(place)
        return end

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(attempt, range(ends)))


def report(ends: Sequence[End], seed: int) -> dict[str, object]:
    """Sum the campaign up."""
    cases = Counter(end.case.name for end in ends)
    return {
        "kills": sum(end.kills for end in ends),
        "ends": len(ends),
        "equal": sum(not end.fault for end in ends),
        "faults": [f"{end.case.name}: {end.fault}" for end in ends if end.fault],
        "cases": dict(sorted(cases.items())),
        "seed": seed,
        "shape": SHAPE,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def main() -> None:
    """Run the campaign from the command line; exit 1 if any end differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--ends", type=int, default=108, help="attempts, each with one to three kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="attempts at a time")
    parser.add_argument("--record", type=Path, help="write the result as JSON here")
    chosen = parser.parse_args()
    cases = [Case("run", env, method) for env in ENVIRONMENTS for method in METHODS]
    cases += [
        Case(kind, env, method) for kind in ("compare", "sweep") for env, method in zip(ENVIRONMENTS, ("espl", "rl_only"), strict=True)
    ]
    folder = Path(tempfile.mkdtemp(prefix="kill-campaign-"))
    result = report(campaign(cases, chosen.ends, chosen.seed, chosen.workers, folder), chosen.seed)
    print(f"{result['kills']} kills, {result['ends']} ends, {result['equal']} equal to the unbroken run byte for byte")
    if chosen.record:
        chosen.record.write_text(json.dumps(result, indent=2) + "\n")
    if result["faults"]:
        raise SystemExit(f"differing ends are kept in {folder}: {result['faults']}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
