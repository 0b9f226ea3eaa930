"""Disks that are full or refuse, files of other people, terminals that are gone: one line, and nothing is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_fixtures import make_summary
from command_line import CommandLine
from loop_fixtures import SHAPE, last_commit, make_scripted_config
from loop_fixtures import run as run_scripted
from patience import PATIENCE_S
from process_notes import Notes
from run_dir_fixtures import snapshot
from scripted_engine import ScriptedEngine

from espl_bench import runner
from espl_bench.analysis import attribution
from espl_bench.cli.app import invoke
from espl_bench.cli.commands import batch, compare
from espl_bench.cli.commands.batch import BatchPlan
from espl_bench.errors import CheckpointError, EsplError, RunDirError
from espl_bench.runs.run_dir import RunDir
from espl_bench.sweep.processes import Job, run_all

CONFIG = make_scripted_config(steps=4, eval_samples=1, checkpoint_every=2)
SOMEBODY = 65534


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    run_scripted(CONFIG, folder, ScriptedEngine())
    return folder


@pytest.fixture
def folder(finished: Path) -> Iterator[Path]:
    """A finished run, to be spoilt, where every user may look."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(shutil.copytree(finished, Path(name) / "run"))


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Without the rights of root, who may read and write everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(SOMEBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def espl_bench(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def resume(folder: Path):
    return runner.resume(folder, engine=ScriptedEngine())


# What is missing


@pytest.mark.parametrize("gone", ["checkpoints", "checkpoints/*", "rollouts"])
def test_a_run_whose_folders_are_gone_keeps_the_rest(gone: str, folder: Path):
    for path in folder.glob(gone):
        shutil.rmtree(path)
    before = snapshot(folder)
    with pytest.raises(RunDirError if gone == "rollouts" else CheckpointError) as refusal:
        resume(folder)
    assert f"{folder / gone.split('/')[0]} " in str(refusal.value) and "estore" in str(refusal.value)
    assert snapshot(folder) == before


def test_a_run_killed_before_its_first_commit_needs_no_checkpoint(folder: Path):
    shutil.rmtree(folder / "checkpoints")
    for name in ("metrics.jsonl", "evaluations.jsonl", "summary.json"):
        (folder / name).unlink()
    assert resume(folder).steps == 4


def test_a_folder_removed_while_the_run_writes_is_named(folder: Path):
    shutil.rmtree(folder / "rollouts")
    with pytest.raises(RunDirError, match=f"{folder / 'rollouts'} has been removed; restore it from a copy, or start a new run"):
        RunDir(folder).write_rollouts(5, [{}])


# Permissions


def test_checkpoint_files_may_be_read_by_whom_the_other_files_may(folder: Path, lab_model: Path, tmp_path: Path):
    choices = [
        f"--{name.replace('_', '-')}={value}" for name, value in (SHAPE | {"model": lab_model, "steps": 1, "out": tmp_path / "r"}).items()
    ]
    assert invoke(["run", "--quiet", "--method=rl_only", *choices]) == 0
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "r").rglob("*") if path.is_file() and path.name != ".lock"}
    assert set(modes.values()) == {0o666 & ~current_umask()} and "adapter_model.safetensors" in modes


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("hidden", ["checkpoints", "checkpoints/step_000004/commit.json", "config.json", "."])
def test_what_belongs_to_somebody_else_is_not_called_damaged(hidden: str, folder: Path):
    before = snapshot(folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)
        if os.geteuid() == 0:
            os.chown(path, SOMEBODY, -1)
    (folder / hidden).chmod(0)
    with as_somebody_else(), pytest.raises(EsplError, match=r"cannot be read \(Permission denied\)") as refusal:
        resume(folder)
    assert not any(word in str(refusal.value) for word in ("start", "delete", "damaged", "\n"))
    (folder / hidden).chmod(0o777)
    assert snapshot(folder) == before


# Disks that refuse


def test_attribution_asks_for_room_before_it_evaluates(folder: Path):
    def never(config):
        raise AssertionError("nothing may be evaluated")

    folder.chmod(0o555)
    with as_somebody_else(), pytest.raises(RunDirError) as refusal:
        attribution.attribute([folder], [], lambda cell, done, total: None, open_engine=never)
    assert f"{folder / 'attribution.json'} cannot be written (Permission denied); make it writable and repeat the command" in str(
        refusal.value
    )


def test_publishing_into_a_folder_that_refuses(folder: Path, espl_bench: CommandLine):
    results = folder.parent / "results"
    results.mkdir(mode=0o555)
    with as_somebody_else():
        said = espl_bench.fails("results", "add", folder, "--results", results)
    assert f"{results}/" in said and "cannot be written (Permission denied); make it writable and repeat the command" in said


def test_a_comparison_in_a_folder_that_refuses_starts_nothing(folder: Path):
    folder.chmod(0o555)
    plan = BatchPlan(folder / "inside", (Job(folder / "inside" / "a", (sys.executable, "-c", "1/0"), 1),))
    with as_somebody_else(), pytest.raises(RunDirError, match=r"inside cannot be written \(Permission denied\); make it writable"):
        compare.carry_out(plan, 1, quiet=True, as_json=False)


def test_a_table_that_cannot_be_written_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def refuse(path: Path, chunks: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "espl-s0").mkdir()
    (tmp_path / "espl-s0" / "summary.json").write_text(make_summary().to_json())
    monkeypatch.setattr(batch, "write_atomic", refuse)
    plan = BatchPlan(tmp_path, (Job(tmp_path / "espl-s0", (), 1),))
    with pytest.raises(RunDirError, match=f"no space left while writing {tmp_path / 'table.md'}; free space and repeat the command"):
        compare.carry_out(plan, 1, quiet=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["tables"]


def test_a_process_whose_log_cannot_be_opened_fails_alone(tmp_path: Path):
    (tmp_path / "one.log").mkdir()
    jobs = [Job(tmp_path / name, (sys.executable, "-c", "pass"), 1) for name in ("one", "two")]
    one, two = run_all(jobs, 1, Notes())
    assert one.fate == "failed" and one.reason.startswith(f"{tmp_path / 'one.log'} is not written to (it is a folder)")
    assert two.fate == "finished"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "espl_bench", *map(str, arguments)]


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@needs_full
@pytest.mark.parametrize("arguments", [["table"], ["table", "--json"], ["show"], ["--help"]])
def test_output_to_a_full_disk_is_one_line(arguments: list[str], finished: Path):
    with open("/dev/full", "w") as full:
        named = [] if arguments == ["--help"] else [finished]
        done = subprocess.run(command(*arguments, *named), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no space left while writing the output; free space and repeat the command" in done.stderr


# Terminals that are gone


def options(model: Path, out: Path, steps: int) -> list[str]:
    values = SHAPE | {"model": model, "out": out, "steps": steps, "method": "rl_only", "checkpoint_every": 1000}
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


@needs_full
def test_progress_on_a_full_disk_ends_no_run(lab_model: Path, tmp_path: Path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("run", *options(lab_model, tmp_path / "run", 1)), stderr=full, stdout=subprocess.PIPE, check=False)
    assert done.returncode == 0 and RunDir(tmp_path / "run").summary().steps == 1


def wait_for(true, process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)


@pytest.mark.slow
def test_a_hangup_saves_the_run(lab_model: Path, tmp_path: Path):
    folder = tmp_path / "run"
    metrics = folder / "metrics.jsonl"
    started = command("run", "--quiet", *options(lab_model, folder, 400))
    process = subprocess.Popen(
        started,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # even if the tests run under nohup
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: metrics.exists() and metrics.stat().st_size, process)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1 and said.count("\n") == 1
    assert f"everything is saved; continue with: espl-bench resume {folder}" in said
    assert last_commit(folder).step == metrics.read_bytes().count(b"\n") > 0


@pytest.mark.slow
def test_under_nohup_a_hangup_stops_nothing(lab_model: Path, tmp_path: Path):
    folder = tmp_path / "run"
    metrics = folder / "metrics.jsonl"
    process = subprocess.Popen(
        command("run", "--quiet", *options(lab_model, folder, 4)),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
        text=True,
    )
    wait_for(lambda: metrics.exists() and metrics.stat().st_size, process)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux binds a process to its parent")
def test_processes_end_with_a_driver_that_is_killed(tmp_path: Path):
    marks = [tmp_path / f"mark{number}" for number in range(2)]
    code = "import os, sys, time, pathlib; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(3600)"
    jobs = [(str(tmp_path / mark.name[-1]), [sys.executable, "-c", code, str(mark)]) for mark in marks]
    driver = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\n"
        "from espl_bench.sweep.processes import Job, run_all\nfrom process_notes import Notes\n"
        f"run_all([Job(Path(f), tuple(c), 1) for f, c in {jobs!r}], 2, Notes())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", driver, str(Path(__file__).parent / "support")], text=True)
    wait_for(lambda: all(mark.exists() and mark.read_text() for mark in marks), process)
    process.kill()
    process.wait()
    until = time.monotonic() + PATIENCE_S
    while any(lives(int(mark.read_text())) for mark in marks):
        assert time.monotonic() < until
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
