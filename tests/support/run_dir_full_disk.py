"""Runs in its own process: everything a run writes, on a disk that is full. See test_run_dir_crashes.py.

``tmpfs PATH``   mounts a file system of 512 KiB on PATH (needs a mount namespace of its own) and fills it up
``limit PATH``   lets no file grow beyond a size, so that the system refuses with EFBIG
"""

import asyncio
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from checked import present
from cli_fixtures import make_summary
from run_dir_fixtures import advance, check_committed, make_ledger, population_at, rows_at, snapshot, start, weights_at
from safetensors.numpy import save_file

from espl_bench.errors import RunDirError
from espl_bench.runs.logs import Log
from espl_bench.runs.run_dir import RunDir

BIG = {"text": "x" * 20_000}


@contextmanager
def filled(path):
    """The file system of `path` has no free block."""
    filler = path / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


@contextmanager
def limited(path):
    """No file may grow beyond 9,000 bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, resource.RLIM_INFINITY))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def save_plain(folder):
    (folder / "adapter.bin").write_bytes(weights_at(4))
    (folder / "optimizer.bin").write_bytes(bytes(1_000_000))


async def save_tensors(folder):
    save_file({"weight": np.zeros(250_000, dtype=np.float32)}, folder / "adapter.safetensors")


def fails(path, file, action, safe="everything up to step 3 is committed"):
    """The action raises the one line that names the file, and nothing that was there is changed."""
    before = snapshot(path)
    with pytest.raises(RunDirError) as error:
        action()
    expected = f"no space left while writing {file}; {safe}; free space and run `espl-bench resume {path}`"
    assert str(error.value) == expected, error.value
    assert snapshot(path) == before


def append_many(run):
    for _ in range(100):
        run.append(Log.METRICS, BIG)


def scenario(disk, full):
    path = disk / "run"
    with full(disk), pytest.raises(RunDirError) as error:
        start(path, root_principles=("long " * 3_000,))
    assert str(error.value) == f"no space left while writing {path}; free space or choose another --out", error.value
    run = start(path)  # what was left of the failed start is no run
    asyncio.run(advance(run, 3))
    for log, row in rows_at(4, weights_at(4)):
        run.append(log, row)
    checkpoint = path / "checkpoints" / "step_000004"
    with full(disk):
        fails(path, path / "metrics.jsonl", lambda: run.append(Log.METRICS, BIG))
        fails(path, path / "rollouts" / "step_000004.jsonl", lambda: run.write_rollouts(4, [BIG] * 3))
        fails(path, path / "rollouts" / "step_000003.jsonl", lambda: run.write_rollouts(3, [BIG] * 3))
        for save in (save_plain, save_tensors):
            fails(path, checkpoint, lambda save=save: asyncio.run(run.commit(4, population_at(4), make_ledger(4), save)))
        fails(path, path / "summary.json", lambda: run.write_summary(make_summary(scores=[0.25] * 3_000)))
        found = present(run.last_commit())
        assert found.step == 3
        run.rewind(found)  # going back needs no space
    assert check_committed(path) == 3
    asyncio.run(advance(run, 8))
    assert check_committed(path) == 8


def before_any_commit(disk, full):
    path = disk / "fresh"
    run = start(path)
    with full(disk):
        save = save_plain
        action = lambda: asyncio.run(run.commit(0, population_at(0), make_ledger(), save))  # noqa: E731
        fails(path, path / "checkpoints" / "step_000000", action, "nothing is committed yet")
    assert check_committed(path) is None
    asyncio.run(advance(RunDir.open(path), 2))
    assert check_committed(path) == 2


if __name__ == "__main__":
    kind, name = sys.argv[1:]
    if kind == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", name], check=True)
    for part in (scenario, before_any_commit):
        part(Path(name), {"tmpfs": filled, "limit": limited}[kind])
    sys.stdout.write("done\n")
