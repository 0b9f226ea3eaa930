"""Trackers get the run's numbers, on one step axis that a resume goes on with. Real event files, real offline runs."""

import json
import os
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from loop_fixtures import make_scripted_config
from scripted_engine import ScriptedEngine

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.errors import UsageError
from espl_bench.monitoring import detached_tracker, trackers
from espl_bench.monitoring.reporter import Silent, StepReport
from espl_bench.monitoring.trackers import Tracked, TrackerName
from espl_bench.monitoring.tracking import TRACKING, Tracking, tracked
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.utils.jsonl import decode
from espl_bench.utils.stop_signal import InterruptedRunError

CONFIG = make_scripted_config(steps=4, eval_every=2, eval_samples=1, checkpoint_every=1)


class StopsAfter(Tracking):
    """Is killed, so to say, after so many steps: whatever was not committed is lost to the run, but told to the trackers."""

    def __init__(self, reporter, names, steps):
        super().__init__(reporter, names)
        self.steps = steps

    def stepped(self, report: StepReport) -> None:
        super().stepped(report)
        if report.step == self.steps:
            raise KeyboardInterrupt


def run_and_resume(folder: Path, name: str) -> None:
    """A run that is broken off while it tells of step 3, and resumed from its commit of step 2."""
    first = StopsAfter(Silent(), [name], 3)
    with pytest.raises((KeyboardInterrupt, InterruptedRunError)):
        try:
            runner.run(CONFIG, folder, reporter=first, engine=ScriptedEngine())
        finally:
            first.close()
    with tracked(Silent(), folder, ()) as reporter:
        runner.resume(folder, reporter=reporter, engine=ScriptedEngine())


def rewards(folder: Path) -> dict[int, float]:
    return {row["step"]: row["reward"] for row in RunDir(folder).read_log(Log.METRICS, decode)}


def test_tensorboard_shows_every_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run_and_resume(tmp_path / "run", "tensorboard")
    found = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    curve = found.Scalars("train/reward")
    assert {event.step: event.value for event in curve} == pytest.approx(rewards(tmp_path / "run"), abs=1e-6)
    assert [event.step for event in curve] == [1, 2, 3, 4]
    assert [event.step for event in found.Scalars("test/score")] == [4]
    assert sorted({event.step for event in found.Scalars("validation/score")}) == [0, 2, 4]
    assert {"train/outcome/correct", "population/size", "speed/seconds"} <= set(found.Tags()["scalars"])


def records(file: Path) -> Iterator[bytes]:
    """The records of a W&B run file: LevelDB's log format, blocks of 32 KiB, after a header of seven bytes."""
    data, at, held = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        room = 32_768 - at % 32_768
        if room < 7:
            at += room
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        held += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield held
            held = b""


def history(file: Path) -> list[Mapping[str, float]]:
    """The rows that an offline run keeps."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]  # made as it is imported

    rows = []
    for data in records(file):
        record = Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            rows.append({"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item})
    return rows


def test_wandb_offline_continues_the_same_run_on_the_same_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = tmp_path / "run"
    run_and_resume(folder, "wandb")
    parts = sorted((folder / "wandb").glob("offline-run-*"))
    [identity] = {part.name.rpartition("-")[2] for part in parts}
    assert len(parts) == 2 and json.loads((folder / TRACKING).read_text())["id"] == identity
    told: dict[float, set[float]] = {}
    for part in parts:
        for row in history(next(part.glob("*.wandb"))):
            if "train/reward" in row:
                told.setdefault(row["step"], set()).add(row["train/reward"])
    assert told == {step: {value} for step, value in rewards(folder).items()}


def test_trackio_keeps_one_local_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    SQLiteStorage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage

    run_and_resume(tmp_path / "run", "trackio")
    [name] = SQLiteStorage.get_runs("espl-bench")
    rows = [row for row in SQLiteStorage.get_logs("espl-bench", name) if "train/reward" in row]
    assert {row["step"]: row["train/reward"] for row in rows} == pytest.approx(rewards(tmp_path / "run"))


def test_nothing_is_tracked_unless_it_is_asked_for(tmp_path: Path):
    silent = Silent()
    with tracked(silent, tmp_path, ()) as reporter:
        assert reporter is silent
    assert not (tmp_path / TRACKING).exists()


def test_an_unknown_tracker_and_a_missing_package_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert invoke(["run", "--track", "tensorbord"]) == 2
    assert "unknown tracker 'tensorbord'; did you mean 'tensorboard'?" in capsys.readouterr().err
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"tracker wandb needs the package wandb; install it with: pip install 'espl-bench\[wandb\]'"):
        trackers.choose("wandb")


def test_a_tracked_run_computes_what_an_untracked_one_does(tmp_path: Path):
    pytest.importorskip("tensorboard")
    runner.run(CONFIG, tmp_path / "plain", engine=ScriptedEngine())
    with tracked(Silent(), tmp_path / "tracked", ["tensorboard"]) as reporter:
        runner.run(CONFIG, tmp_path / "tracked", reporter=reporter, engine=ScriptedEngine())
    for log in ("metrics", "population", "evaluations"):
        assert (tmp_path / "plain" / f"{log}.jsonl").read_bytes() == (tmp_path / "tracked" / f"{log}.jsonl").read_bytes()


# Trackers that fail


class Listens(Silent):
    """Keeps what needs attention; does something to the tracker after step 2."""

    def __init__(self, spoil=lambda: None):
        self.said: list[str] = []
        self.spoil = spoil

    def stuck(self, message: str) -> None:
        self.said.append(message)

    def stepped(self, report: StepReport) -> None:
        if report.step == 2:
            self.spoil()


def check_untouched(folder: Path, names: list[str], reporter: Listens, unbroken: Path) -> None:
    """Run with trackers that fail: it ends as one without, and says twice what has happened."""
    with tracked(reporter, folder, names) as watched:
        runner.run(CONFIG, folder, reporter=watched, engine=ScriptedEngine())
    for log in ("metrics", "population", "evaluations"):
        assert (folder / f"{log}.jsonl").read_bytes() == (unbroken / f"{log}.jsonl").read_bytes()
    assert (folder / "summary.json").exists()
    assert all("\n" not in line for line in reporter.said)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    runner.run(CONFIG, folder, engine=ScriptedEngine())
    return folder


class Fake:
    """A tracker that raises, leaves or hangs when it is asked for something."""

    def __init__(self, at: str, does: str, run: Tracked):
        self.at, self.does = at, does
        self._maybe("open")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        if step == 2:
            self._maybe("log")

    def close(self) -> None:
        self._maybe("close")

    def _maybe(self, now: str) -> None:
        if now != self.at:
            return
        if self.does == "hang":
            threading.Event().wait()
        raise SystemExit(3) if self.does == "exit" else ValueError("no\nsuch service, with secret-key-0123456789")


@pytest.mark.parametrize("does", ["raise", "exit", "hang"])
@pytest.mark.parametrize("at", ["open", "log", "close"])
def test_a_tracker_that_fails_is_named_and_touches_nothing(
    at: str, does: str, tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_API_KEY", "secret-key-0123456789")
    for name in ("GRACE_S", "CLOSE_S"):
        monkeypatch.setattr(detached_tracker, name, 0.2)
    kinds = {**trackers.KINDS, "fake": TrackerName("json", lambda run: Fake(at, does, run))}
    monkeypatch.setattr("espl_bench.monitoring.tracking.KINDS", kinds)
    monkeypatch.setattr(trackers, "KINDS", kinds)
    reporter = Listens()
    check_untouched(tmp_path / "run", ["fake"], reporter, unbroken)
    *first, last = reporter.said
    upto = {"open": 0, "log": 1, "close": 4}[at]
    why = {"raise": "ValueError: no such service, with ***", "exit": "SystemExit: 3", "hang": "has not answered for 0 s"}[does]
    if first:
        assert first == [f"tracker fake has failed and gets no more numbers; the run goes on ({why})"]
    rest = "" if first else f" ({why})"
    assert last == f"tracker fake has the numbers of this run up to step {last.split(' step ')[1].split(' ')[0]} only{rest}"
    assert int(last.split(" step ")[1].split(" ")[0]) == upto


def test_a_tensorboard_folder_that_cannot_be_written(tmp_path: Path, unbroken: Path):
    pytest.importorskip("tensorboard")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").write_text("a file")
    reporter = Listens()
    check_untouched(tmp_path / "run", ["tensorboard"], reporter, unbroken)
    assert f"File exists: '{tmp_path / 'run' / 'tensorboard'}'" in reporter.said[0]
    assert reporter.said[-1].startswith("tracker tensorboard has the numbers of this run up to step 0 only")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.usefixtures("offline")
def test_a_mode_that_wandb_does_not_know(tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    reporter = Listens()
    check_untouched(tmp_path / "run", ["wandb"], reporter, unbroken)
    assert "nonsense" in reporter.said[0] and str(tmp_path / "run" / "tracking-wandb.log") in reporter.said[0]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_of_wandb_that_dies_or_hangs(
    number: signal.Signals,
    tmp_path: Path,
    unbroken: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(detached_tracker, "CLOSE_S", 3.0)
    stopped: list[int] = []

    def spoil() -> None:
        """Wait until it takes numbers, then strike everything below it."""
        while not (files := list((tmp_path / "run" / "wandb").glob("*/*.wandb"))) or not files[0].stat().st_size:
            time.sleep(0.05)
        for tracker in children(os.getpid(), "tracker_process"):
            stopped.extend(children(tracker, "wandb"))
        for pid in stopped:
            os.kill(pid, number)

    reporter = Listens(spoil)
    check_untouched(tmp_path / "run", ["wandb"], reporter, unbroken)
    for pid in stopped:
        if number is signal.SIGSTOP:
            os.kill(pid, signal.SIGKILL)
    assert stopped and reporter.said[-1].startswith("tracker wandb has the numbers of this run up to step ")
    assert "Traceback" not in capfd.readouterr().err


def children(pid: int, word: str) -> list[int]:
    """The children of a process whose command line holds a word."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if word in line]


def test_a_damaged_record_of_trackers_does_not_stop_a_run(tmp_path: Path):
    (tmp_path / TRACKING).write_text("{")
    reporter = Listens()
    with tracked(reporter, tmp_path, ()) as watched:
        assert watched is reporter
    [said] = reporter.said
    assert f"{tmp_path / TRACKING} cannot be read" in said and "the run goes on untracked" in said
