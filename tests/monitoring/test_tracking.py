"""Trackers get the run's numbers, on one step axis that a resume goes on with. Real event files, real offline runs."""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from loop_fixtures import make_scripted_config
from scripted_engine import ScriptedEngine

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.errors import UsageError
from espl_bench.monitoring import trackers
from espl_bench.monitoring.reporter import Silent, StepReport
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
