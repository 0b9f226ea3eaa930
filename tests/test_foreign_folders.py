"""A run directory is data: nothing in it is followed, opened or written to but regular files of its owner."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_fixtures import make_config
from command_line import CommandLine
from data_fixtures import write_jsonl
from loop_fixtures import make_scripted_config
from loop_fixtures import run as loop_run
from report_fixtures import make_run
from report_pages import everything_in
from scripted_engine import ScriptedEngine

from espl_bench.accounting.response_cache import ResponseCache
from espl_bench.cli.app import invoke
from espl_bench.cli.commands import compare
from espl_bench.cli.options import Chosen
from espl_bench.errors import CheckpointError, RunDirError, UsageError
from espl_bench.monitoring.reporter import Silent
from espl_bench.monitoring.tracking import tracked
from espl_bench.runs import checkpoints, lock
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.sweep.grid import make_cells, read_grid
from espl_bench.sweep.storage import SWEEP, Storage, SweepFile
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.foreign_json import InvalidJsonError, parse_json

BASHRC = "alias ls='ls --color'\n"
ROOMS = ("runs", "analysis", "results", "report", "leaderboard", "sweep", "monitoring", "plots", "cli/commands")
FILES = (
    "optimizer_harness.py",
    "runner.py",
    "accounting/response_cache.py",
    "engines/hf/adapter/checkpoints.py",
    "engines/tinker/engine.py",
)
OPENS = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "glob", "rglob", "iterdir", "unlink", "stat", "rmtree", "mkstemp"}
SAFE = ("foreign_files.", "named_files.", "atomic_io.", "cls.", "self.cache.")
OWN = {
    "RunDir.open", "Storage.open", "self.fs.glob", "KINDS[name].open",
}  # fmt: skip
"""What is called like a file operation and is none."""
NAMED_BY_THE_USER = {
    ("grade.py", "path.read_bytes"): "the file of answers of the command line, which may be a pipe",
    ("page.py", "read_text"): "the page's own assets",
    ("provenance.py", "read_text"): "/proc/cpuinfo",
    ("consent.py", "stat"): "the user's own configuration and record",
    ("export.py", "write_text"): "a folder that this process has just made",
    ("cell_worker.py", "shutil.rmtree"): "a folder that this process has just made",
}


PLAIN = {
    "cli/app.py": "the null device",
    "cli/commands/grade.py": "the file of answers of the command line, which may be a pipe",
    "environment/scaffold.py": "the package's own files for a new environment",
    "engines/machine_fit.py": "/proc/meminfo and the limits of this container",
    "engines/smollm2.py": "the folder that this process has just filled, compared with known hashes",
    "engines/hf/sharding/rank_processes.py": "the log that this process has just made",
    "engines/vllm/setup.py": "the log that this process has just made",
    "grading/confinement.py": "/proc/self/statm",
    "grading/grade_worker.py": "the null device",
    "report/page.py": "the page's own assets",
    "retrieval/bm25.py": "an index in the user's own data home",
    "retrieval/dense.py": "an index in the user's own data home",
    "retrieval/corpus.py": "an index in the user's own data home",
    "runs/provenance.py": "/proc/cpuinfo",
    "utils/source_hash.py": "sources of installed packages, which are code",
    "utils/worker.py": "the null device",
}
"""Files of the package that open something plainly, and what that is. All else is opened by one of two modules."""
PLAINLY = {"open", "os.open", "io.open", "np.load"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def bashrc(tmp_path: Path) -> Path:
    path = tmp_path / "bashrc"
    path.write_text(BASHRC)
    return path


@pytest.fixture
def espl_bench(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def hard_link(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.hardlink_to(target)


def fifo(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def test_nothing_but_the_one_module_opens_what_is_in_a_run():
    package = Path(foreign_files.__file__).parents[1]
    paths = [*(path for room in ROOMS for path in (package / room).rglob("*.py")), *(package / name for name in FILES)]
    found: list[str] = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            name = called.rpartition(".")[2]
            if name not in OPENS or called in OWN or called.startswith(SAFE):
                continue
            if not any(path.name == file and called.endswith(call) for file, call in NAMED_BY_THE_USER):
                found.append(f"{path.relative_to(package)}:{node.lineno} {called}")
    assert not found


def test_what_is_opened_plainly_is_nobody_else_s():
    package = Path(foreign_files.__file__).parents[1]
    own = {package / "utils" / "foreign_files.py", package / "utils" / "named_files.py"}
    found: set[str] = set()
    for path in sorted({*package.rglob("*.py")} - own):
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            of_path = called.endswith((".read_text", ".read_bytes")) and not called.startswith(("foreign_files.", "named_files."))
            if of_path or called in PLAINLY or re.fullmatch(r"\(.* / .*\)\.open|\w*(path|file)\.open", called):
                found.add(path.relative_to(package).as_posix())
    assert found == set(PLAIN)


@pytest.mark.parametrize("put", [link, hard_link])
@pytest.mark.parametrize("log", list(Log))
def test_no_log_is_written_through_a_link(put: Callable[[Path, Path], None], log: Log, run: Path, bashrc: Path):
    put(log.path(run), bashrc)
    with pytest.raises(RunDirError, match=f"{log}.jsonl is not written to") as refusal:
        RunDir.open(run).append(log, {"principle": "$(touch X)"})
    assert bashrc.read_text() == BASHRC and "\n" not in str(refusal.value)


@pytest.mark.parametrize("put", [link, hard_link, fifo])
def test_no_lock_is_taken_through_a_link(put: Callable[[Path, Path], None], run: Path, bashrc: Path):
    put(run / lock.NAME, bashrc)
    with pytest.raises(RunDirError, match=r"\.lock is not written to"), lock.held(run):
        pass
    assert bashrc.read_text() == BASHRC


@pytest.mark.parametrize("name", ["config.json", "summary.json", "metrics.jsonl", "rollouts/step_000004.jsonl", "formats.json"])
@pytest.mark.parametrize("put", [link, fifo])
def test_nothing_is_read_through_a_link_and_no_fifo_is_waited_for(
    put: Callable[[Path, Path], None], name: str, run: Path, tmp_path: Path, espl_bench: CommandLine
):
    (copy := tmp_path / "copy").write_bytes((run / name).read_bytes())
    put(run / name, copy)
    code = 2 if name == "config.json" else 1
    said = [espl_bench.fails("show", run, code=code), espl_bench.fails("report", run, "--out", tmp_path / "page.html", code=code)]
    assert invoke(["verify", "--json", str(run)]) == code
    for words in (*said, "".join(espl_bench.capsys.readouterr())):
        assert name in words and ("it is a link" in words or "it is a FIFO" in words)


@pytest.mark.parametrize("name", ["rollouts", "checkpoints"])
def test_no_folder_of_a_run_is_a_link(name: str, run: Path, tmp_path: Path, espl_bench: CommandLine):
    (run / name).rename(tmp_path / "elsewhere")
    (run / name).symlink_to(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").iterdir())
    opened = RunDir.open(run)
    with pytest.raises((RunDirError, CheckpointError), match="it is a link"):
        opened.last_commit() if name == "checkpoints" else opened.read_rollouts(4, json.loads)
    with pytest.raises(RunDirError, match="it is a link"):
        opened.restart()
    assert sorted((tmp_path / "elsewhere").iterdir()) == before


def test_a_checkpoint_names_no_file_outside_it(tmp_path: Path, bashrc: Path):
    for name in ("../../../bashrc", str(bashrc), "a\0b"):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        folder = checkpoints.path_of(tmp_path / "run" / "checkpoints", 0)
        folder.mkdir(parents=True)
        totals = dict.fromkeys(checkpoints.LedgerTotals.model_fields, 0)
        record = checkpoints._Record.model_validate({"step": 0, "population": {}, "ledger": totals, "logs": {}, "files": {name: "00"}})
        (folder / checkpoints.RECORD).write_bytes(checkpoints._sealed(record))
        with pytest.raises(CheckpointError, match=r"no name inside its folder|outside its folder"):
            checkpoints.newest(tmp_path / "run" / "checkpoints")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_not_written_to(tmp_path: Path, run: Path, espl_bench: CommandLine):
    (prepared := tmp_path / "prepared").mkdir(mode=0o777)
    for folder in (prepared, run):
        os.chown(folder, 12345, -1)
    with pytest.raises(RunDirError, match=r"belongs to user 12345\); copy it"):
        RunDir.create(prepared, make_config(), {})
    assert "belongs to user 12345" in espl_bench.fails("resume", run)
    assert list(prepared.iterdir()) == []
    espl_bench.succeeds("show", run)


def test_a_prepared_folder_holds_no_trap_for_a_new_run(tmp_path: Path, bashrc: Path):
    (folder := tmp_path / "new").mkdir()
    for name in ("metrics.jsonl", ".part-config.json", ".part-provenance.json"):
        (folder / name).symlink_to(bashrc)
    with pytest.raises(RunDirError, match="is not written to"):
        RunDir.create(folder, make_config(), {})
    (folder / "metrics.jsonl").unlink()
    RunDir.create(folder, make_config(), {})
    assert bashrc.read_text() == BASHRC


def test_answers_and_trackers_are_data_too(run: Path, bashrc: Path):
    (run / "answers").mkdir()
    (run / "answers" / "step_000000.jsonl").symlink_to(bashrc)
    with pytest.raises(RunDirError, match="step_000000"):
        ResponseCache().open(run, 0)
    (run / "tracking.json").write_text('{"id": "../../../x", "trackers": ["tensorboard"]}')
    with tracked(Silent(), run, ()) as reporter:
        assert isinstance(reporter, Silent)
    assert bashrc.read_text() == BASHRC


def test_a_report_is_written_beside_no_trap(run: Path, tmp_path: Path, bashrc: Path, espl_bench: CommandLine):
    page = tmp_path / "page.html"
    (tmp_path / ".part-page.html").symlink_to(bashrc)
    page.symlink_to(bashrc)
    espl_bench.succeeds("report", run, "--out", page)
    assert bashrc.read_text() == BASHRC and not page.is_symlink()
    os.mkfifo(tmp_path / "fifo")
    assert "is not a file" in espl_bench.fails("report", run, "--out", tmp_path / "fifo", code=2)


def test_two_reports_to_one_file_both_succeed(run: Path, tmp_path: Path):
    command = [sys.executable, "-m", "espl_bench", "report", str(run), "--out", str(tmp_path / "page.html")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in both] == [(b"", 0)] * 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".part")] == []


def test_a_writer_to_one_file_never_removes_what_another_writes(tmp_path: Path):
    def slowly():
        yield b"first"
        atomic_io.write_atomic(tmp_path / "file", [b"second"])

    atomic_io.write_atomic(tmp_path / "file", slowly())
    assert (tmp_path / "file").read_bytes() == b"first" and len(list(tmp_path.iterdir())) == 1


def test_what_colleagues_are_to_read_follows_the_umask(run: Path, tmp_path: Path, espl_bench: CommandLine):
    before = os.umask(0o027)
    try:
        espl_bench.succeeds("report", run, "--out", tmp_path / "page.html")
        made = make_run(tmp_path / "made")
    finally:
        os.umask(before)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o640
    assert {path.stat().st_mode & 0o777 for path in made.rglob("*") if path.is_file()} == {0o640}
    assert {path.stat().st_mode & 0o777 for path in made.rglob("*") if path.is_dir()} == {0o750}


def test_what_else_colleagues_are_to_read_follows_the_umask(tmp_path: Path, espl_bench: CommandLine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ESPL_BENCH_DATA", str(tmp_path / "shared" / "home"))
    questions = write_jsonl(tmp_path / "q.jsonl", ({"question": f"where is {n} ?", "answer": ["x"]} for n in range(9)))
    before = os.umask(0o027)
    try:
        loop_run(make_scripted_config(steps=2, eval_samples=2), tmp_path / "shared" / "run", ScriptedEngine())
        espl_bench.succeeds("results", "add", tmp_path / "shared" / "run", "--results", tmp_path / "shared" / "results")
        espl_bench.succeeds("plot", tmp_path / "shared" / "run", "--out", tmp_path / "shared" / "plots", "--kinds", "bars")
        espl_bench.succeeds("data", "import", "nq", "--split", "train", "--source", "nq-open-train", "--from", questions)
    finally:
        os.umask(before)
    made = [path for path in (tmp_path / "shared").rglob("*") if path.name != ".lock"]
    odd = [
        (path.name, oct(path.stat().st_mode & 0o777)) for path in made if path.stat().st_mode & 0o777 != (0o750 if path.is_dir() else 0o640)
    ]
    assert len(made) > 20 and odd == []


def test_a_report_holds_no_private_names_and_nothing_that_a_link_leads_to(tmp_path: Path, espl_bench: CommandLine):
    study = tmp_path / "study"
    own = make_run(study / "own", model="/home/eve/models/secret-lab")
    facts = {
        "espl_bench": "0",
        "git": {"commit": "c0ffee", "dirty": True, "untracked": ["my-thoughts.txt"], "diff": "+unpublished"},
        "argv": ["espl-bench", "run", "--out=/home/eve/runs/x", "--model", "/home/eve/models/lab"],
        "facts": {"prices": "/home/eve/prices.toml"},
    }
    (own / "provenance.json").write_text(json.dumps(facts))
    stranger = make_run(tmp_path / "elsewhere", seed=7, label="from-elsewhere")
    (study / "linked").symlink_to(stranger)
    espl_bench.succeeds("report", study, "--out", tmp_path / "page.html")
    text = everything_in((tmp_path / "page.html").read_bytes())
    for private in ("/home/eve", "unpublished", "my-thoughts", "from-elsewhere"):
        assert private not in text
    assert "c0ffee" in text and "prices.toml" in text


def test_a_linked_run_in_a_folder_is_told_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str], espl_bench: CommandLine):
    make_run(tmp_path / "study" / "own")
    make_run(tmp_path / "elsewhere")
    (tmp_path / "study" / "linked").symlink_to(tmp_path / "elsewhere")
    assert invoke(["table", str(tmp_path / "study")]) == 0
    assert f"left out: {tmp_path / 'study' / 'linked'}: it is a link" in capsys.readouterr().err
    espl_bench.succeeds("table", tmp_path / "study" / "linked")


# Sweeps

OUTSIDE = [
    "../evil",
    "/tmp/evil",
    "a/b",
    "a\0b",
    "..",
    ".driver",
    "attempts",
    "sweep.json",
    "-rf",
    "nul",
    "x" * 300,
    "a\nb",
    "a\\b",
    "con.log",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_label_of_a_grid_leaves_its_folder(name: str, tmp_path: Path):
    grid = tmp_path / "grid.toml"
    label = json.dumps(name)
    grid.write_text(f'methods = ["base"]\nseeds = 1\nenvironments = [{{ name = "rulebook", label = {label} }}]\n')
    with pytest.raises(UsageError, match="cannot name a folder") as refusal:
        make_cells(read_grid(grid))
    assert str(grid) in str(refusal.value)


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_in_a_sweep_leaves_its_folder(name: str, tmp_path: Path, espl_bench: CommandLine):
    grid = tmp_path / "grid.toml"
    grid.write_text('methods = ["base"]\nenvironments = ["rulebook"]\nseeds = 1\n')
    read = read_grid(grid)
    record = json.loads(SweepFile.of(read, make_cells(read)).model_dump_json())
    record["cells"][0]["name"] = name
    (sweep := tmp_path / "sweep").mkdir()
    (sweep / SWEEP).write_text(json.dumps(record))
    for command in ("status", "resume"):
        said = espl_bench.fails("sweep", command, sweep, code=2)
        assert SWEEP in said and "cannot name a folder" in said
    assert sorted(path.name for path in sweep.iterdir()) == [SWEEP]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.toml", "sweep"]


def test_a_damaged_cell_is_one_line_of_the_status(tmp_path: Path, espl_bench: CommandLine):
    grid = tmp_path / "grid.toml"
    grid.write_text('methods = ["base"]\nenvironments = ["rulebook"]\nseeds = 2\n')
    read = read_grid(grid)
    cells = make_cells(read)
    storage = Storage.open(str(tmp_path / "sweep"))
    storage.write(SWEEP, SweepFile.of(read, cells).model_dump_json().encode())
    for cell, text in zip(cells, ("{", None), strict=True):
        make_run(tmp_path / "sweep" / cell.name)
        if text:
            (tmp_path / "sweep" / cell.name / "summary.json").write_text(text)
    (tmp_path / "sweep" / "attempts").mkdir()
    os.mkfifo(tmp_path / "sweep" / "attempts" / f"{cells[1].name}.json")
    states = json.loads(espl_bench.succeeds("sweep", "status", tmp_path / "sweep", "--json"))
    assert [state["state"] for state in states] == ["damaged", "finished"]
    assert "summary.json" in states[0]["reason"]


def test_a_comparison_leaves_a_damaged_run_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "base-s0").mkdir()
    (tmp_path / "base-s0" / "config.json").write_text("{")
    plan = compare.make_plan("base", "rulebook", [0, 1], Chosen({}, (), ()), tmp_path)
    assert [job.name for job in plan.jobs] == ["base-s1"] and "base-s0/config.json" in plan.damaged[0]
    made = make_run(tmp_path / "base-s1", method="base", seed=1)
    assert compare.carry_out(plan, 1, quiet=True, as_json=True) == 1
    said = capsys.readouterr()
    assert made.is_dir() and json.loads(said.out)["tables"] and "left out of the table" in said.err


def test_a_sweep_file_that_is_a_fifo_is_not_waited_for(tmp_path: Path, espl_bench: CommandLine):
    os.mkfifo(tmp_path / SWEEP)
    assert "it is a FIFO" in espl_bench.fails("sweep", "status", tmp_path)


# Numbers and nesting


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "9" * 5000, "1" + "0" * 30, "1e400", "NaN", "[Infinity]", '{"a":' * 80 + "1" + "}" * 80, "\xff", ""]
)
def test_json_that_this_package_never_writes_is_one_type_of_error(text: str):
    with pytest.raises(InvalidJsonError):
        parse_json(text.encode("latin-1"))


def test_json_that_it_writes_is_read():
    assert parse_json(b'{"a": [1, -2.5, 9007199254740993, null, "\\ud800"]}') == {"a": [1, -2.5, 2**53 + 1, None, "\ud800"]}


def test_temporary_names_cannot_be_foreseen(tmp_path: Path):
    with tempfile.TemporaryDirectory() as name, foreign_files.open_folder(Path(name)) as folder:
        first, second = folder.create(), folder.create()
        os.close(first[1])
        os.close(second[1])
        assert first[0] != second[0]
