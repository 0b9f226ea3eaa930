"""Seeded damage to a run directory, as a stranger's disk, editor or malice might do it, and the commands that must survive it."""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from loop_fixtures import make_scripted_config
from loop_fixtures import run as loop_run
from report_fixtures import make_run
from report_pages import everything_in
from scripted_engine import ScriptedEngine

from espl_bench.cli.app import invoke
from espl_bench.cli.commands.attribute import _siblings
from espl_bench.cli.commands.batch import BatchPlan, damage_of, run_batch
from espl_bench.cli.commands.sweep_display import SweepDisplay
from espl_bench.cli.console import err_console
from espl_bench.errors import EsplError
from espl_bench.report.live_server import WatchedRun, find
from espl_bench.report.page import encode
from espl_bench.sweep.grid import make_cells, read_grid
from espl_bench.sweep.journal import Journal
from espl_bench.sweep.processes import Job, JobResult, RunStatus
from espl_bench.sweep.storage import SWEEP, Storage, SweepFile

HANG_S = 60
"""No command on these small runs needs a tenth of it."""
SECRET = "what only its owner may read"
RAW = {
    "@@huge@@": "9" * 5000,
    "@@long@@": "-" + "9" * 40,
    "@@inf@@": "1e400",
    "@@large@@": "1e308",
    "@@nan@@": "NaN",
    "@@deep@@": "[" * 3000 + "]" * 3000,
    "@@deeper@@": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "@@surrogate@@": '"\\ud800"',
    "@@nul@@": '"a\\u0000b"',
}
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**53, 2**62, 0.5, -1e-300, 1e100, "", "x" * 5000, "\x1b]52;c;eA==\x07", "../../x", "/etc/passwd", "a/b",
    [], {}, [[]], [1, [2, [3]]], {"a": {"b": []}}, "1", "wrong", "test", *RAW,
)  # fmt: skip


def base(folder: Path) -> Path:
    """Sound runs, and what becomes `victim`, beside a file that is nobody's business: run directories, records and a sweep.

    ``study`` holds runs that were made by hand, ``real`` the victim as a loop makes it, which `verify` and `results add` find in order.
    """
    study = folder / "study"
    for name, seed in (("one", 0), ("victim", 1)):
        confess(make_run(study / name, seed=seed))
    for name, seed in (("one", 0), ("victim", 1)):
        loop_run(make_scripted_config(seed=seed, steps=2, eval_samples=2), folder / "real" / name, ScriptedEngine())
    with contextlib.redirect_stdout(io.StringIO()):
        assert call("results", "add", folder / "real", "--results", folder / "results", "--quiet") == 0
    make_sweep(folder)
    (folder / "secret.txt").write_text(SECRET)
    return study


def confess(run: Path) -> None:
    """Let a run's provenance hold what no report may."""
    provenance = json.loads((run / "provenance.json").read_text())
    provenance |= {"git": {"commit": "c0ffee", "dirty": True, "diff": f"+{SECRET}"}, "argv": ["espl-bench", "--out=/home/eve/x"]}
    (run / "provenance.json").write_text(json.dumps(provenance))


def make_sweep(folder: Path) -> None:
    """A sweep of two finished cells, with the record of their attempts."""
    (folder / "grid.toml").write_text('methods = ["base"]\nenvironments = ["rulebook"]\nseeds = 2\n')
    grid = read_grid(folder / "grid.toml")
    cells = make_cells(grid)
    storage = Storage.open(str(folder / "sweep"))
    storage.write(SWEEP, SweepFile.of(grid, cells).model_dump_json().encode())
    journal = Journal(storage)
    for cell in cells:
        job = Job(make_run(folder / "sweep" / cell.name, method="base", seed=cell.config.seed), (), cell.config.iterations)
        journal.placed(job, "here")
        journal.ended(JobResult(job, RunStatus.FINISHED))


def damage(run: Path, rng: random.Random) -> str:
    """Damage one thing of a run; returns what."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    path = rng.choice(files)
    how = rng.choice([flip, cut, insert, alter, alter, alter, alter, lines, replace_by_other])
    how(path, rng)
    return f"{how.__name__} {path.relative_to(run)}"


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def cut(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data) + 1)])


def insert(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    at = rng.randrange(len(data) + 1)
    path.write_bytes(data[:at] + rng.choice([b"\0", b"\xff\xfe", b"\n", b'"', b"[" * 10_000, b"9" * 6000, rng.randbytes(20)]) + data[at:])


def lines(path: Path, rng: random.Random) -> None:
    """Lose, repeat or swap lines."""
    rows = path.read_bytes().splitlines(keepends=True)
    if rows:
        index = rng.randrange(len(rows))
        row = rows.pop(index)
        other = rng.randrange(len(rows) + 1)
        rows[other:other] = rng.choice([[], [row], [row, row]])
    path.write_bytes(b"".join(rows))


def alter(path: Path, rng: random.Random) -> None:
    """Put another value, or none, into one place of a record or of a line."""
    rows = [path.read_bytes()] if path.suffix == ".json" else path.read_bytes().splitlines()
    if not rows:
        return
    index = rng.randrange(len(rows))
    try:
        record = json.loads(rows[index])
    except (ValueError, RecursionError):  # damaged before
        return
    place: Any = record
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.3:
            if rng.random() < 0.2:
                del place[key]
            elif rng.random() < 0.1 and isinstance(place, dict):
                place[rng.choice(["", "more", "../x", "\ud800", "9" * 30])] = place.pop(key)
            else:
                place[key] = rng.choice(VALUES)
            break
        place = place[key]
    text = json.dumps(record)
    for mark, raw in RAW.items():
        text = text.replace(f'"{mark}"', raw)
    rows[index] = text.encode()
    path.write_bytes(rows[0] if path.suffix == ".json" else b"\n".join(rows) + b"\n")


def replace_by_other(path: Path, rng: random.Random) -> None:
    """Put something that is no file in the place of a file, or of its folder."""
    if path.parent.name == "rollouts" and rng.random() < 0.3:
        path = path.parent
        shutil.rmtree(path)
    else:
        path.unlink()
    outside = next(parent / "secret.txt" for parent in path.parents if (parent / "secret.txt").exists())
    match rng.randrange(8):
        case 0:
            path.symlink_to(outside)
        case 1:
            path.symlink_to(path)
        case 2:
            path.symlink_to("/dev/zero")
        case 3:
            os.mkfifo(path)
        case 4:
            path.mkdir()
        case 5:
            here = os.getcwd()
            os.chdir(path.parent)  # a socket's path must be short
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
            os.chdir(here)
        case 6:
            path.symlink_to(path.parent / "nowhere")
        case _:
            path.touch()


@dataclass(frozen=True)
class Command:
    """Something to call, which returns the exit code."""

    name: str
    call: Callable[[], int]
    of_one: bool = False
    """It is about the damaged thing alone, so that one line may be all that it has to say."""


def commands(study: Path, rng: random.Random, kinds: tuple[str, ...] = ()) -> Iterator[Command]:
    """`show` and three more of the commands that read runs."""
    out, run = study.parent / "out", study / "victim"
    table = rng.choice([[], ["--json"], *(["--format", name] for name in ("markdown", "csv", "latex", "html")), ["--match", "rollouts"]])
    show = rng.choice([[], ["--json"], ["--prompts"], ["--tree"], ["--rollout", "0"], ["--step", "2"]])
    as_json = rng.choice([[], ["--json"]])
    others = [
        Command("table", lambda: call("table", study, *table)),
        Command("report", lambda: call("report", study, "--out", out / "report.html")),
        Command("view", lambda: look(study)),
        Command("attribute", lambda: seeds(study / "one")),
        Command("verify", lambda: call("verify", run, *as_json), of_one=True),
        Command("results add", lambda: call("results", "add", run, "--results", out / "results", "--quiet", *as_json), of_one=True),
    ]
    yield Command("show", lambda: call("show", run, *show), of_one=True)
    yield from rng.sample(others, 3)
    for kind in kinds:
        yield Command("plot", lambda kind=kind: call("plot", study, "--out", out / "plots", "--kinds", kind))


def commands_on_results(results: Path, rng: random.Random) -> Iterator[Command]:
    """What reads published runs."""
    as_json = rng.choice([[], ["--json"]])
    yield Command("results list", lambda: call("results", "list", "--results", results, *as_json))
    yield Command("results check", lambda: call("results", "check", "--results", results, *as_json), of_one=True)
    yield Command("table", lambda: call("table", results, *as_json))


def commands_on_sweep(sweep: Path, rng: random.Random, of_one: bool) -> Iterator[Command]:
    """What reads the cells of a sweep."""
    as_json = rng.choice([[], ["--json"]])
    yield Command("sweep status", lambda: call("sweep", "status", sweep, *as_json), of_one)
    yield Command("sweep's tables", lambda: tables(sweep), of_one)


def tables(sweep: Path) -> int:
    """Make the tables that stand at the end of a sweep; cells that are not finished count as failed."""
    storage = Storage.open(str(sweep))
    try:
        cells = storage.sweep().cells
    except EsplError as error:
        print(f"espl-bench: {error}", file=sys.stderr)  # noqa: T201  # as the command does
        return 1
    jobs = tuple(Job(sweep / cell.name, (), cell.config.iterations) for cell in cells)
    plan = BatchPlan(sweep, jobs, tuple(fault for job in jobs if (fault := damage_of(job.folder))))
    display = SweepDisplay(err_console(), plan.waiting, True, storage, Journal(storage))
    run_batch(plan, lambda waiting: [JobResult(job, RunStatus.FAILED, "not finished") for job in waiting], display, as_json=False)
    return 0


def call(*arguments: object) -> int:
    return invoke([str(argument) for argument in arguments])


def look(study: Path) -> int:
    """Open everything that the page of `view` can ask for."""
    watched = WatchedRun([study], "t")
    _, document = watched.document()
    for header in json.loads(document)["runs"]:
        parts = {"run": [""], "prompts": ["/0"], "index": [""], "rollouts": ["/step_1", "/test_4"]}
        for kind, piece in [(kind, piece) for kind, pieces in parts.items() for piece in pieces]:
            with contextlib.suppress(EsplError):  # sent as an error of this part
                encode(find(watched, f"/{kind}/{header['id']}{piece}"))
    return 0


def seeds(run: Path) -> int:
    """Look for the other seeds, as `attribute` does before it evaluates."""
    _siblings(run)
    return 0


def hang(number: int, frame: FrameType | None) -> None:
    raise AssertionError(f"nothing answered for {HANG_S} s")


def one_case(folder: Path, sound: Path, seed: int, kinds: tuple[str, ...] = ()) -> tuple[list[str], set[str]]:
    """Damage a copy of the sound things and try every command. Returns what went wrong, and the commands that left the damaged one out."""
    rng = random.Random(seed)
    study = folder / "study"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound.parent, folder)
    match rng.choice(["run", "run", "run", "real", "real", "record", "cell", "sweep"]):
        case "run":
            victim, tried = study / "victim", commands(study, rng, kinds)
        case "real":
            study = folder / "real"
            victim, tried = study / "victim", commands(study, rng, kinds)
        case "record":
            victim, tried = folder / "results" / "rulebook", commands_on_results(folder / "results", rng)
        case "cell":
            victim, tried = folder / "sweep" / "rulebook-base-s1", commands_on_sweep(folder / "sweep", rng, of_one=False)
        case _:
            victim, tried = folder / "sweep" / "attempts", commands_on_sweep(folder / "sweep", rng, of_one=True)
            if rng.random() < 0.7:
                victim = folder / "sweep" / "own"
                victim.mkdir()
                (folder / "sweep" / SWEEP).rename(victim / SWEEP)
    damages = 1 if victim.name == "rulebook" else rng.choice([1, 1, 1, 2])  # one record, so that a sound one is left
    what = ", ".join(damage(victim, rng) for _ in range(damages) if damageable(victim))
    if victim.name == "own":
        (victim / SWEEP).rename(folder / "sweep" / SWEEP)
    faults: list[str] = []
    left_out: set[str] = set()
    for command in tried:
        found, words = attempt(command)
        faults += [f"seed {seed}: {command.name} after {what}: {fault}" for fault in found]
        if "left out" in words:
            left_out.add(command.name)
            if victim.name == "victim" and "victim" not in words:
                faults.append(f"seed {seed}: {command.name} after {what}: names no run: {words[:200]}")
    faults += [f"seed {seed}: {what}: {fault}" for fault in escaped(folder)]
    return faults, left_out


def damageable(victim: Path) -> bool:
    """Return whether there is a file to damage, and the thing is still what it is."""
    return any(path.is_file() and not path.is_symlink() for path in victim.rglob("*")) and (
        victim.name != "victim" or (victim / "config.json").exists()
    )


def attempt(command: Command) -> tuple[list[str], str]:
    """Call a command. Returns what is wrong with how it ended, and what it printed to stderr."""
    said, told = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANG_S)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
            code = command.call()
    except Exception as error:  # noqa: BLE001  # any of them is what this looks for
        return [f"{type(error).__name__}: {str(error)[:200]}"], ""
    finally:
        signal.alarm(0)
    said.flush()
    words, shown = told.getvalue(), said.buffer.getvalue()  # pyright: ignore[reportAttributeAccessIssue]  # a BytesIO
    errors = [line for line in words.splitlines() if line.startswith("espl-bench: ")]
    faults: list[str] = []
    if not command.of_one and code != 0:
        faults.append(f"the sound ones are not shown: {words[:300]}")
    if command.of_one and code != 0 and not shown and len(errors) != 1:
        faults.append(f"ends with {len(errors)} lines: {words[:300]}")
    if "Traceback" in words or b"Traceback (most" in shown:
        faults.append("a traceback")
    return faults, words


def escaped(folder: Path) -> Iterator[str]:
    """Say what left its place: into a report, or onto a file outside."""
    report = folder / "out" / "report.html"
    if report.exists() and SECRET in everything_in(report.read_bytes()):
        yield "the report holds what a link leads to"
    if (folder / "secret.txt").read_text() != SECRET:
        yield "wrote outside"
