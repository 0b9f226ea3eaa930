"""Seeded damage to a run directory, as a stranger's disk, editor or malice might do it, and the commands that must survive it."""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from report_fixtures import make_run
from report_pages import everything_in

from espl_bench.cli.app import invoke
from espl_bench.cli.commands.attribute import _siblings
from espl_bench.errors import EsplError
from espl_bench.report.live_server import WatchedRun, find
from espl_bench.report.page import encode

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
    """A sound run and another, `victim`, beside a file that is nobody's business."""
    study = folder / "study"
    for name, seed in (("one", 0), ("victim", 1)):
        run = make_run(study / name, seed=seed)
        provenance = json.loads((run / "provenance.json").read_text())
        provenance |= {"git": {"commit": "c0ffee", "dirty": True, "diff": f"+{SECRET}"}, "argv": ["espl-bench", "--out=/home/eve/x"]}
        (run / "provenance.json").write_text(json.dumps(provenance))
    (folder / "secret.txt").write_text(SECRET)
    return study


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
    outside = next(parent for parent in path.parents if parent.name == "study").parent / "secret.txt"
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


def commands(study: Path, rng: random.Random, kinds: tuple[str, ...] = ()) -> Iterator[tuple[str, Callable[[], int]]]:
    """`show` and two more of the commands that read runs, each as something to call; it returns the exit code."""
    out, run = study.parent / "out", study / "victim"
    table = rng.choice([[], ["--json"], *(["--format", name] for name in ("markdown", "csv", "latex", "html")), ["--match", "rollouts"]])
    show = rng.choice([[], ["--json"], ["--prompts"], ["--tree"], ["--rollout", "0"], ["--step", "2"]])
    others: dict[str, Callable[[], int]] = {
        "table": lambda: call("table", study, *table),
        "report": lambda: call("report", study, "--out", out / "report.html"),
        "view": lambda: look(study),
        "attribute": lambda: seeds(study / "one"),
    }
    yield "show", lambda: call("show", run, *show)
    yield from ((name, others[name]) for name in rng.sample(sorted(others), 2))
    for kind in kinds:
        yield "plot", lambda kind=kind: call("plot", study, "--out", out / "plots", "--kinds", kind)


def call(*arguments: object) -> int:
    return invoke([str(argument) for argument in arguments])


def look(study: Path) -> int:
    """Open everything that the page of `view` can ask for."""
    watched = WatchedRun([study], "t")
    _, document = watched.document()
    for header in json.loads(document)["runs"]:
        for kind in ("run", "index", "rollouts"):
            pieces = [f"/{piece}" for piece in ("step_1", "test_4")] if kind == "rollouts" else [""]
            for piece in pieces:
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
    """Damage a copy of the sound runs and try every command. Returns what went wrong, and the commands that left the damaged run out."""
    rng = random.Random(seed)
    study = folder / "study"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound.parent, folder)
    what = ", ".join(damage(study / "victim", rng) for _ in range(rng.choice([1, 1, 1, 2])) if (study / "victim" / "config.json").exists())
    faults: list[str] = []
    left_out: set[str] = set()
    for name, run in commands(study, rng, kinds):
        said, told = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        signal.signal(signal.SIGALRM, hang)
        signal.alarm(HANG_S)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
                code = run()
        except Exception as error:  # noqa: BLE001  # any of them is what this looks for
            faults.append(f"seed {seed}: {name} after {what}: {type(error).__name__}: {str(error)[:200]}")
            continue
        finally:
            signal.alarm(0)
        words = told.getvalue()
        if "left out" in words:
            left_out.add(name)
            if "victim" not in words:
                faults.append(f"seed {seed}: {name} after {what}: names no run: {words[:200]}")
        if name != "show" and code != 0:
            faults.append(f"seed {seed}: {name} after {what}: the sound runs are not shown: {words[:300]}")
        if name == "show" and code and len([line for line in words.splitlines() if line.startswith("espl-bench: ")]) != 1:
            faults.append(f"seed {seed}: {name} after {what}: {words[:200]}")
        if "Traceback" in words:
            faults.append(f"seed {seed}: {name} after {what}: a traceback")
    report = folder / "out" / "report.html"
    if report.exists() and SECRET in everything_in(report.read_bytes()):
        faults.append(f"seed {seed}: the report after {what} holds what a link leads to")
    if (folder / "secret.txt").read_text() != SECRET:
        faults.append(f"seed {seed}: {what} wrote outside")
    return faults, left_out
