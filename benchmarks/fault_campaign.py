"""Meet real runs with faults of the machine, continue them, and compare every byte of their end with an unbroken run.

    sudo python benchmarks/fault_campaign.py [--times 10] [--seed 0] [--record FILE]

Each fault comes at a moment or with a size drawn anew, `--times` times:

- *disk full*: the run's file system has room for a random part of it. The run must end in one line; with more room it goes on.
- *read-only*: the file system meets an error and turns read-only in mid-run, as ext4 does; what was not synchronised is lost. The run
  must end in one line; checked and writable again, it goes on.
- *clock back*: the wall clock jumps back by an hour in mid-run, once and again. Nobody may notice. Needs libfaketime.
- *two writers*: two processes continue one run. One must be refused in one line, the other must finish.

It mounts small file systems, so it needs root, Linux and loop devices.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from study_bytes import differences, end_of

ESPL_BENCH = (sys.executable, "-m", "espl_bench")
OPTIONS = (
    *("--method=espl", "--env=rulebook", "--engine=hf", "--quiet", "--steps=6", "--num-prompts=2", "--batch-size=4"),
    *("--group-size=4", "--eval-every=2", "--eval-samples=1", "--checkpoint-every=2"),
)
ROOM = "64m"
"""More than a run takes."""
MISSED = "ended before its moment"
"""What a fault says of a run that was too quick for it; it does not count."""
SWITCH = Path("/sys/fs/ext4")
"""Where the kernel lets an error of a mounted ext4 be triggered."""
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


@dataclass(frozen=True, slots=True)
class Known:
    """What an unbroken run looks like."""

    end: Mapping[str, str]
    seconds: float
    kilobytes: int


class BrokenPromiseError(Exception):
    """A run did something else than end in one line or go on."""


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start espl-bench."""
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen([*ESPL_BENCH, *arguments], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def refused(process: subprocess.Popen[str]) -> str:
    """Wait for a process that must fail; return its one line. Raises BrokenPromiseError for anything else."""
    _, err = process.communicate(timeout=600)
    lines = err.strip().splitlines()
    if process.returncode == 0 or len(lines) != 1 or "Traceback" in err:
        raise BrokenPromiseError(f"exit {process.returncode}, {len(lines)} lines on stderr: {err.strip()[-400:]}")
    return lines[0]


def finished(process: subprocess.Popen[str]) -> None:
    """Wait for a process that must succeed. Raises BrokenPromiseError."""
    _, err = process.communicate(timeout=600)
    if process.returncode:
        raise BrokenPromiseError(f"exit {process.returncode}: {err.strip()[-400:]}")


def begin_or_resume(folder: Path) -> tuple[str, ...]:
    """Return the arguments that continue a run, or start it if nothing of it is there."""
    return ("resume", str(folder), "--quiet") if (folder / "config.json").exists() else ("run", f"--out={folder}", *OPTIONS)


@contextmanager
def file_system(folder: Path, size: str) -> Generator[Path]:
    """Mount a file system of its own; yields a folder on it."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder / "run"
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def disk(image: Path, folder: Path) -> Generator[Path]:
    """Mount the ext4 in an image, which turns read-only at an error; yields a folder on it."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, folder], check=True)
    try:
        yield folder / "run"
    finally:
        subprocess.run(["umount", folder], check=True)


def break_disk(folder: Path) -> None:
    """Let the mounted ext4 meet an error."""
    device = subprocess.run(["findmnt", "-no", "SOURCE", folder], check=True, capture_output=True, text=True).stdout.strip()
    (SWITCH / Path(device).name / "trigger_fs_error").write_text("campaign")


def disk_full(known: Known, folder: Path, rng: random.Random) -> str:
    """Give a run too little room, then enough."""
    with file_system(folder, f"{rng.randint(16, int(known.kilobytes * 0.9))}k") as run:
        said = refused(start("run", f"--out={run}", *OPTIONS))
        subprocess.run(["mount", "-o", f"remount,size={ROOM}", folder], check=True)
        finished(start(*begin_or_resume(run)))
        compare(run, known)
    return said


def read_only(known: Known, folder: Path, rng: random.Random) -> str:
    """Turn the file system read-only in mid-run, then check it and go on."""
    image = folder.with_suffix(".img")
    subprocess.run(["mkfs.ext4", "-q", image, ROOM], check=True, capture_output=True)
    with disk(image, folder) as run:
        process = start("run", f"--out={run}", *OPTIONS)
        wait_for(run / "config.json", process)
        time.sleep(rng.uniform(0.0, known.seconds / 2))
        if process.poll() is not None:
            return MISSED
        break_disk(folder)
        said = MISSED if process.wait(timeout=600) == 0 else refused(process)  # it had written all before
    subprocess.run(["fsck.ext4", "-fy", image], check=False, capture_output=True)  # exits 1 where it repaired something
    with disk(image, folder) as run:
        if said != MISSED:
            finished(start(*begin_or_resume(run)))
        compare(run, known)
    return said


def clock_back(known: Known, folder: Path, rng: random.Random) -> str:
    """Set the wall clock back by an hour, and by another, in mid-run."""
    folder.mkdir()
    run, clock = folder / "run", folder / "clock"
    clock.write_text("+0s\n")
    faked = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    process = start("run", f"--out={run}", *OPTIONS, **faked)
    wait_for(run / "config.json", process)
    for hours in (1, 2):
        time.sleep(rng.uniform(0.0, known.seconds / 4))
        clock.write_text(f"-{hours}h\n")
    finished(process)
    compare(run, known)
    return "went on"


def two_writers(known: Known, folder: Path, rng: random.Random) -> str:
    """Let two processes continue one run."""
    folder.mkdir()
    run = folder / "run"
    process = start("run", f"--out={run}", *OPTIONS)
    wait_for(run / "config.json", process)
    time.sleep(rng.uniform(0.0, known.seconds / 2))
    process.kill()
    process.communicate()
    if (run / "summary.json").exists():
        return MISSED
    both = [start("resume", str(run), "--quiet") for _ in range(2)]
    while all(process.poll() is None for process in both):
        time.sleep(0.005)
    both.sort(key=lambda process: process.poll() is None)
    said = refused(both[0])
    finished(both[1])
    compare(run, known)
    return said


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file of a running process is there. Raises BrokenPromiseError if the process ends without it."""
    while not path.exists():
        if process.poll() is not None:
            raise BrokenPromiseError(f"exit {process.returncode} before {path.name} was written")
        time.sleep(0.002)


def compare(run: Path, known: Known) -> None:
    """Raises BrokenPromiseError if the end differs from the unbroken one."""
    if fault := differences(end_of(run), known.end):
        raise BrokenPromiseError(fault)


def known_end(folder: Path) -> Known:
    """Run once without a fault."""
    began = time.monotonic()
    finished(start("run", f"--out={folder}", *OPTIONS))
    seconds = time.monotonic() - began
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Known(end_of(folder), seconds, used // 1024)


FAULTS: Mapping[str, Callable[[Known, Path, random.Random], str]] = {
    "disk full": disk_full,
    "read-only": read_only,
    "clock back": clock_back,
    "two writers": two_writers,
}


def meet(name: str, times: int, seed: int, known: Known, root: Path) -> tuple[int, list[str]]:
    """Let one fault happen so many times, and print each; return how often it did, and what was broken."""
    happened, broken = 0, list[str]()
    for number in range(3 * times):
        try:
            line = FAULTS[name](known, root / f"{name.replace(' ', '-')}-{number}", random.Random(f"{seed}/{name}/{number}"))
        except BrokenPromiseError as error:
            line = f"BROKEN {error}"
            broken.append(f"{name}, number {number}: {error}")
        print(f"{name:12s} {number:3d}  {line}", flush=True)
        happened += line != MISSED
        if happened == times:
            break
    print(f"{name}: {happened - len(broken)} of {happened} ended equal to the unbroken run", flush=True)
    return happened, broken


def write_record(path: Path, name: str, row: Mapping[str, object]) -> None:
    """Put a fault's row into the record, in place of an earlier one of the same fault."""
    rows: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**rows, name: row}, indent=2) + "\n")


def main() -> None:
    """Run the campaign from the command line; exit 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=tuple(FAULTS), metavar="FAULT", help="the faults to meet")
    parser.add_argument("--times", type=int, default=10, help="times that each fault must happen")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path, help="write the result as JSON here")
    chosen = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="fault-campaign-"))
    known, broken = known_end(root / "known"), list[str]()
    for name in chosen.faults:
        happened, faults = meet(name, chosen.times, chosen.seed, known, root)
        broken += faults
        if chosen.record:
            write_record(chosen.record, name, {"times": happened, "broken": faults, "seed": chosen.seed})
    if broken:
        raise SystemExit(f"broken promises, kept in {root}: {broken}")
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
