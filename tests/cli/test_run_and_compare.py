"""`run` and `compare` from the command line: plans, child processes, their signals and displays, and the table in the end."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import process_notes
import pytest
from cli_fixtures import make_config, make_run, make_summary
from engines_fixtures import make_model
from espl_baselines.base import BASE
from patience import PATIENCE_S
from process_notes import Notes
from rich.console import Console

from espl_bench.cli.app import invoke
from espl_bench.cli.commands import compare
from espl_bench.cli.commands import run as run_command
from espl_bench.cli.commands.batch import BatchPlan
from espl_bench.cli.commands.compare_display import CompareDisplay
from espl_bench.cli.options import Chosen
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.errors import UsageError
from espl_bench.runs.summary import Summary
from espl_bench.sweep.processes import Job, run_all, with_threads


def test_options_given_to_a_comparison_reach_its_runs_unchanged(monkeypatch: pytest.MonkeyPatch):
    flags = {"sleep": True, "mask_truncated": False}
    values = {"steps": 3, "lr": 1e-05, "loss": "ppo", "tie": 0.0, "model": "-odd name", **flags}
    chosen = Chosen(values, ("world=7", "x=a b"), ("[G0] @ -larger .",))
    chosen = replace(chosen, spending={"max_cost": 1.5, "max_tokens_total": 7, "prices": "p.toml"})
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(run_command, "configure", lambda *given: seen.append(given) or make_config())
    monkeypatch.setattr(run_command, "dry_run", lambda config, as_json, budget: None)
    assert invoke(["run", "--seed=2", "--method=base", *chosen.arguments(), "--dry-run"]) == 0
    assert seen == [("base", "rulebook", 2, chosen)]


def test_seeds():
    assert compare.parse_seeds(None, None) == (0, 1, 2)
    assert compare.parse_seeds(2, None) == (0, 1)
    assert compare.parse_seeds(None, "7, 3,7") == (7, 3)


def test_a_plan_goes_through_methods_inside_seeds_and_resumes_what_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    runs = tmp_path / "runs"
    chosen = Chosen({"steps": 40, "model": "lab"}, (), ())
    config = resolve("espl", "rulebook", {"steps": 40, "model": "lab", "seed": 1})
    make_run(runs / "espl-s1", make_summary(), **{name: getattr(config, name) for name in RunConfig.model_fields})
    make_run(runs / "base-s1", None, **{name: getattr(config, name) for name in RunConfig.model_fields} | {"method": BASE})
    plan = compare.make_plan("base,espl,base", "rulebook", (1, 0), chosen, runs)
    assert [job.name for job in plan.jobs] == ["base-s1", "espl-s1", "base-s0", "espl-s0"]
    assert [job.name for job in plan.waiting] == ["base-s1", "base-s0", "espl-s0"], "what has a summary is kept"
    assert [job.iterations for job in plan.jobs] == [0, 40, 0, 40]
    assert plan.jobs[0].command[3:] == ("resume", str(runs / "base-s1"), "--quiet")
    assert plan.jobs[3].command[3] == "run" and "--steps=40" in plan.jobs[3].command
    with pytest.raises(UsageError, match="another configuration: steps 40 -> 41"):
        compare.make_plan("espl", "rulebook", (1,), Chosen({"steps": 41, "model": "lab"}, (), ()), runs)


def script(folder: Path, code: str) -> Job:
    return Job(folder, (sys.executable, "-c", code), 1)


def test_a_failing_run_stops_nothing_and_says_why(tmp_path: Path):
    jobs = [
        script(tmp_path / "one", "pass"),
        script(tmp_path / "two", "import sys; print('espl-bench: disk full', file=sys.stderr); sys.exit(1)"),
        script(tmp_path / "three", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
        script(tmp_path / "four", "pass"),
    ]
    notes = Notes()
    results = {result.job.name: result for result in run_all(jobs, 2, notes)}
    assert notes.names == ["one", "two", "three", "four"] and notes.most == 2
    assert {name: result.fate.value for name, result in results.items()} == {
        **{"one": "finished", "two": "failed", "three": "failed", "four": "finished"}
    }
    assert results["two"].reason == "disk full" and results["three"].reason == "killed by SIGKILL"
    assert [path.name for path in tmp_path.iterdir()] == ["two.log"], "an empty log is not kept"


SAVES = """
import pathlib, signal, sys, time
def save(number, frame):
    with open(sys.argv[1], "a") as file: file.write("saved ")
    sys.exit(1)
signal.signal(signal.SIGINT, save)
pathlib.Path(sys.argv[1]).write_text("")
time.sleep(60)
"""


def test_ctrl_c_reaches_each_child_once_and_waits_for_it(tmp_path: Path):
    marks = [tmp_path / f"mark{number}" for number in range(3)]
    jobs = [Job(tmp_path / mark.name[-1], (sys.executable, "-c", SAVES, str(mark)), 1) for mark in marks]
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\nfrom espl_bench.sweep.processes import Job, run_all\nfrom process_notes import Notes\n"
        f"jobs = [Job(Path(f), tuple(c), 1) for f, c in {[(str(job.folder), list(job.command)) for job in jobs]!r}]\n"
        "print([result.fate.value for result in run_all(jobs, 2, Notes())])\n"
    )
    command = [sys.executable, str(driver), str(Path(process_notes.__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not all(mark.exists() for mark in marks[:2]) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert out.splitlines()[-1] == "['stopped', 'stopped']"
    assert [mark.read_text() for mark in marks[:2]] == ["saved ", "saved "]
    assert not marks[2].exists(), "nothing new is started after a stop"


def test_threads_are_shared_out_unless_the_caller_chose():
    cores = len(os.sched_getaffinity(0))
    assert with_threads({}, 1)["OMP_NUM_THREADS"] == str(cores)
    assert with_threads({"A": "b"}, 10 * cores) == {"OMP_NUM_THREADS": "1", "A": "b"}
    assert with_threads({"OMP_NUM_THREADS": "5"}, 1) == {"OMP_NUM_THREADS": "5"}


def finishing(folder: Path, summary: Summary) -> Job:
    source = folder.with_name(f"{folder.name}.source")
    source.write_text(summary.to_json())
    code = f"import pathlib, shutil; pathlib.Path({str(folder)!r}).mkdir(); shutil.copy({str(source)!r}, {str(folder / 'summary.json')!r})"
    return script(folder, code)


def test_a_comparison_ends_in_a_table_also_when_a_run_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    jobs = [finishing(tmp_path / f"{method}-s0", make_summary(method)) for method in ("base", "espl")]
    plan = BatchPlan(tmp_path, (*jobs, script(tmp_path / "rl_only-s0", "import sys; sys.exit('espl-bench: no such model')")))
    assert compare.carry_out(plan, 1, quiet=False, as_json=True) == 1
    out, err = capsys.readouterr()
    assert [row["method"] for row in json.loads(out)["tables"][0]["rows"]] == ["base", "espl"]
    assert "espl-bench: rl_only-s0 failed: no such model" in err
    assert json.loads((tmp_path / "table.json").read_text()) == json.loads(out)
    assert "| espl |" in (tmp_path / "table.md").read_text()


def test_a_finished_comparison_runs_nothing_and_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    plan = BatchPlan(tmp_path, (script(tmp_path / "espl-s0", "import sys; sys.exit('started')"),))
    (tmp_path / "espl-s0").mkdir()
    (tmp_path / "espl-s0" / "summary.json").write_text(make_summary().to_json())
    assert compare.carry_out(plan, 1, quiet=True, as_json=False) == 0
    out, err = capsys.readouterr()
    assert "espl" in out and "written:" in out and err == ""


def test_comparison_display_names_what_runs(tmp_path: Path):
    console = Console(file=open(os.devnull, "w"), force_terminal=True, width=100)  # noqa: SIM115
    job = script(make_run(tmp_path / "espl-s0"), "")
    with CompareDisplay(console, [job], quiet=False) as display:
        display.started(job)
        paper = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
        paper.print(display._render())
    text = paper.export_text()
    assert "0/1" in text and "espl-s0 3/1" in text


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    model = make_model(tmp_path_factory.mktemp("model"))
    shape = ["--batch-size=2", "--group-size=2", "--max-tokens=4", "--editor-max-tokens=4", "--eval-samples=1", "--eval-every=0"]
    return [f"--model={model}", *shape]


@pytest.mark.slow
def test_a_run_from_the_command_line(tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert invoke(["run", "--steps=2", "--json", *tiny]) == 0
    out, err = capsys.readouterr()
    summary = Summary.model_validate_json(out)
    assert (summary.method, summary.env, summary.steps, summary.seed) == ("espl", "rulebook", 2, 0)
    assert "[0:00] espl on rulebook, seed 0, 2 steps -> runs/rulebook-espl-s0" in err
    assert invoke(["run", "--steps=2", *tiny]) == 1, "the folder is taken"
    assert "espl-bench resume runs/rulebook-espl-s0" in capsys.readouterr().err
    assert invoke(["run", "--method=base", "--quiet", *tiny]) == 0
    out = capsys.readouterr().out
    assert out.startswith("base rulebook s0: ") and out.count("\n") == 1
    assert invoke(["table", "runs", "--json"]) == 0
    [table] = json.loads(capsys.readouterr().out)["tables"]
    assert {row["method"] for row in table["rows"]} == {"base", "espl"}
    assert invoke(["show", "runs/rulebook-espl-s0"]) == 0
    assert "finished, 2 steps" in capsys.readouterr().out


@pytest.mark.slow
def test_a_stopped_comparison_goes_on_with_the_same_command(tiny: list[str], tmp_path: Path):
    command = [sys.executable, "-m", "espl_bench", "compare", "--methods=espl", "--seeds=1", f"--out={tmp_path}", *tiny]
    environment = {**os.environ, "COLUMNS": "100"}
    process = subprocess.Popen([*command, "--steps=300"], stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment)
    metrics, deadline = tmp_path / "espl-s0" / "metrics.jsonl", time.monotonic() + PATIENCE_S
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "1 of 1 runs unfinished; their work is saved; continue with: espl-bench compare --methods=espl" in err
    steps = metrics.read_text().count("\n")
    assert 0 < steps < 300
    done = subprocess.run([*command, "--steps=300"], capture_output=True, text=True, check=False, timeout=PATIENCE_S, env=environment)
    assert done.returncode == 0, done.stderr
    assert metrics.read_text().count("\n") == 300
    assert "espl" in done.stdout and (tmp_path / "table.md").exists()
