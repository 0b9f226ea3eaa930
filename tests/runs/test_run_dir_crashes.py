"""Kill -9 and full disks, for real: in processes of their own."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from checked import present
from patience import PATIENCE_S
from run_dir_fixtures import advance, check_committed, snapshot, start

from espl_bench.runs import checkpoints
from espl_bench.runs.logs import Log

HERE = Path(__file__).resolve().parents[1] / "support"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE), *filter(None, sys.path)])}


@pytest.fixture
def memory():
    """A folder in memory where there is one: being killed loses nothing that the kernel has, so no disk need be waited for."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


def script(name, *arguments):
    return [sys.executable, str(HERE / name), *map(str, arguments)]


def run_script(command):
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=PATIENCE_S)


def test_killed_at_any_line_a_run_is_at_one_of_its_commits(memory):
    done = run_script(script("run_dir_crash_worker.py", "lines", memory, 13))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 700


def wait_for_more(path: Path, rows: int, commit: bool) -> None:
    """Return when the run has logged so many more steps, and committed another one if `commit`, however long that takes."""
    before = rows_of(path) + rows, max(checkpoints.steps(path / "checkpoints"), default=-1)
    while rows_of(path) < before[0] or (commit and max(checkpoints.steps(path / "checkpoints"), default=-1) <= before[1]):
        time.sleep(0.001)


def rows_of(path: Path) -> int:
    return Log.METRICS.path(path).read_bytes().count(b"\n")


def test_killed_at_random_moments_it_ends_like_an_unbroken_run(tmp_path):
    rng = random.Random(0)
    path = tmp_path / "killed"
    start(path)
    steps = []
    for number in range(6):
        worker = subprocess.Popen(
            script("run_dir_crash_worker.py", "run", path, 100_000), stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        assert present(worker.stdout).readline() == "ready\n"
        wait_for_more(path, rng.randrange(3), commit=number % 2 == 1)
        time.sleep(rng.uniform(0, 0.01))
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        steps.append(check_committed(path))
    assert steps == sorted(steps) and steps[-1] > steps[0]
    last = steps[-1] + 2
    done = run_script(script("run_dir_crash_worker.py", "run", path, last))
    assert done.returncode == 0, done.stderr
    unbroken = tmp_path / "unbroken"
    asyncio.run(advance(start(unbroken), last))
    assert snapshot(path) == snapshot(unbroken)


def test_no_space_left_is_told_and_harms_nothing(memory):
    """Where a mount of its own is permitted, on a file system of 512 KiB."""
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    probe = [*namespace, "mount", "-t", "tmpfs", "tmpfs", str(memory)]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode != 0:
        pytest.skip("mounting a file system is not permitted here; the next test covers the same without")
    done = run_script([*namespace, *script("run_dir_full_disk.py", "tmpfs", memory)])
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_file_size_limit_is_told_like_a_full_disk_and_harms_nothing(memory):
    done = run_script(script("run_dir_full_disk.py", "limit", memory))
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
