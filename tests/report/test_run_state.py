"""Whether a run lives: `view` may be started first, and says of each run whether it is written, was left or has finished."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from checked import present
from patience import PATIENCE_S
from report_fixtures import make_run, summary_of

from espl_bench.cli.app import invoke
from espl_bench.errors import RunTakenError
from espl_bench.report import live_server
from espl_bench.report.live_server import WatchedRun
from espl_bench.runs import lock
from espl_bench.runs.run_dir import RunDir

HOLD = """
import sys
from pathlib import Path
from espl_bench.runs import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

ASK = "import sys; from pathlib import Path; from espl_bench.runs import lock; print(lock.is_held(Path(sys.argv[1])))"


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of a run."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert present(holder.stdout).readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def states(watched: WatchedRun) -> dict[str, str]:
    return {run["name"]: run["state"] for run in json.loads(watched.document()[1])["runs"]}


def test_a_run_lives_while_its_process_does(tmp_path):
    folder = make_run(tmp_path / "run", steps=2, finished=False)
    watched = WatchedRun([tmp_path], "t")
    assert states(watched) == {"run": "stopped"}
    with held_elsewhere(folder) as holder:
        before = watched.document()[0]
        assert states(watched) == {"run": "running"}
        holder.send_signal(signal.SIGKILL)
        holder.wait(PATIENCE_S)
        assert states(watched) == {"run": "stopped"}
        assert watched.document()[0] != before, "a page that follows is told, though no file has changed"
    RunDir(folder).write_summary(summary_of())
    assert states(watched) == {"run": "finished"}


def test_asking_takes_no_lock(tmp_path):
    folder = make_run(tmp_path / "run", finished=False)
    with held_elsewhere(folder):
        assert lock.is_held(folder)
        with pytest.raises(RunTakenError), lock.held(folder):
            pass
    with lock.held(folder):
        assert lock.is_held(folder)
        with pytest.raises(RunTakenError), lock.held(folder):
            pass
        asked = [sys.executable, "-c", ASK, str(folder)]
        assert subprocess.run(asked, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout == "True\n", "still held"
    assert not lock.is_held(folder)


def test_a_lock_that_is_no_file_holds_nothing(tmp_path):
    folder = make_run(tmp_path / "run", steps=2, finished=False)
    (folder / lock.NAME).unlink()
    os.mkfifo(folder / lock.NAME)
    assert states(WatchedRun([folder], "t")) == {"run": "stopped"}


@pytest.mark.parametrize("there", [False, True])
def test_a_viewer_may_wait_for_the_first_run(tmp_path, there):
    study = tmp_path / "study"
    if there:
        (study / "empty").mkdir(parents=True)
    watched = WatchedRun([study], "t")
    assert watched.waits and json.loads(watched.document()[1])["runs"] == []
    before = watched.document()[0]
    make_run(study / "run", steps=1, finished=False)
    assert states(watched) == {"run": "stopped"} and not watched.waits
    assert watched.document()[0] != before


def test_of_several_places_one_may_be_empty(tmp_path):
    make_run(tmp_path / "a")
    watched = WatchedRun([tmp_path / "a", tmp_path / "later"], "t")
    assert states(watched) == {"a": "finished"}
    make_run(tmp_path / "later", seed=1)
    assert states(watched) == {"a": "finished", "later": "finished"}


def test_the_command_says_that_it_waits(tmp_path, monkeypatch, capsys):
    def end(viewer: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(live_server.Viewer, "serve_forever", end)
    invoke(["view", str(tmp_path / "later")])
    told = capsys.readouterr()
    assert "http://127.0.0.1:" in told.out
    assert "no run yet in" in told.err and "later" in told.err
