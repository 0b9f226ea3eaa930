"""Runs in its own process and is killed there: see test_run_dir_crashes.py.

``run PATH STEPS``   go on with the run, as the loop would, up to STEPS; says "ready" when the first step is done
``lines PATH N``     for every N-th line of the storage code executed by `scenario`, run it in a forked child that kills
                     itself at that line, and check what is left in PATH; prints how many lines were tried
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

from cli_fixtures import make_summary
from run_dir_fixtures import advance, check_committed, commit, start, weights_at

from espl_bench.runs import checkpoints, lock, logs, run_dir
from espl_bench.runs.run_dir import RunDir
from espl_bench.utils import atomic_io

WATCHED = frozenset(module.__file__ for module in (checkpoints, atomic_io, logs, run_dir, lock, shutil))


def go_on(path, steps):
    run = RunDir.open(path)

    def on_step(step):
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    with run.lock():
        asyncio.run(advance(run, steps, on_step))


def scenario(path):
    """From the commit of step 3, with rows beyond it, over the commits of steps 6, 7 and 7 again, to the summary."""
    run = RunDir.open(path)
    with run.lock():
        asyncio.run(advance(run, 7))
        run.write_summary(make_summary())
        asyncio.run(advance(run, 7))
        asyncio.run(commit(run, 7, weights_at(7)))


class Killer:
    """Counts executed lines of the watched modules and kills the process at one of them."""

    def __init__(self, fatal):
        self.fatal = fatal
        self.seen = 0

    def __call__(self, frame, event, arg):
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


class StopError(Exception):
    pass


def stop_at_5(step):
    if step == 5:
        raise StopError


def killed_at(path, fatal):
    """Whether a forked child was killed before the scenario's end."""
    child = os.fork()
    if child == 0:
        sys.settrace(Killer(fatal))
        scenario(path)
        sys.settrace(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


def every_line(folder, stride):
    prepared = folder / "prepared"
    run = start(prepared)
    asyncio.run(advance(run, 3))

    with contextlib.suppress(StopError):
        asyncio.run(advance(run, 8, stop_at_5))
    found, fatal = {}, 0
    for fatal in range(1, 100_000, stride):
        path = folder / "killed"
        shutil.copytree(prepared, path)
        killed = killed_at(path, fatal)
        found[check_committed(path)] = fatal
        if fatal % 5 == 0:  # and the way on is open
            with RunDir.open(path).lock():
                asyncio.run(advance(RunDir.open(path), 9))
            assert check_committed(path) == 9
        shutil.rmtree(path)
        if not killed:
            break
    assert set(found) == {3, 6, 7}, found
    sys.stdout.write(f"{fatal}\n")


if __name__ == "__main__":
    command, name, *numbers = sys.argv[1:]
    {"run": go_on, "lines": every_line}[command](Path(name), *map(int, numbers))
