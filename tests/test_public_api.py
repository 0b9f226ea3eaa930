"""What `from espl_bench import …` gives, and that runs and tables are made with it, in and outside an event loop."""

import ast
import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from loop_fixtures import SCRIPTED_SHAPE
from patience import PATIENCE_S
from scripted_engine import ScriptedEngine

import espl_bench
from espl_bench import (
    ESPL,
    EnvironmentSpec,
    InterruptedRunError,
    Log,
    Method,
    Problem,
    RunConfig,
    RunDir,
    Silent,
    SingleTurnEnv,
    Split,
    StepReport,
    StopSignal,
    UsageError,
    Verdict,
    build_board,
    collect,
    compare,
    read_summary,
    resolve,
    resume,
    run,
)

ROOT = Path(__file__).parents[1]
SHAPE = SCRIPTED_SHAPE | {"steps": 2}


class OwnEngine(ScriptedEngine):
    """Counts how often it is closed."""

    closed = 0

    async def close(self) -> None:
        self.closed += 1


def small(method: str | Method = "espl", **choices: object) -> RunConfig:
    return resolve(method, "rulebook", SHAPE | choices)


def test_every_public_name_is_there_and_declared_once():
    tree = ast.parse((ROOT / "espl_bench" / "__init__.py").read_text())
    [typing] = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {
        alias.name: node.module.removeprefix("espl_bench.")
        for node in typing.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert homes == vars(espl_bench)["_HOMES"], "what type checkers see is what is loaded"
    assert sorted(homes) == vars(espl_bench)["__all__"] and "run" in homes
    assert all(getattr(espl_bench, name) is not None for name in homes)
    assert set(homes) <= set(dir(espl_bench))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(espl_bench, "nothing")  # noqa: B009


def test_importing_the_package_loads_nothing_and_keeps_threads_from_spinning():
    script = "import sys, os, espl_bench; print(os.environ['OMP_WAIT_POLICY'], *[n for n in sys.modules if n.startswith('espl_bench.')])"
    environment = {"PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE_S, env=environment)
    assert done.stdout.split() == ["PASSIVE"]


def test_a_run_and_a_table_with_an_engine_of_ones_own(tmp_path: Path):
    engine = OwnEngine()
    summary = run(small(), tmp_path / "espl-s0", engine=engine)
    assert summary.steps == 2 and engine.calls and engine.trained and engine.practice > 0
    assert engine.closed == 0, "who brought it closes it"
    assert read_summary(tmp_path / "espl-s0" / "summary.json") == summary
    run(small("base"), tmp_path / "base-s0", engine=OwnEngine())
    [table] = build_board(collect([tmp_path]).entries).tables
    assert {row.method for row in table.rows} == {"espl", "base"} and table.reference == "base"


def test_a_run_goes_on_only_with_the_objects_that_it_began_with(tmp_path: Path):
    run(small(), tmp_path, engine=OwnEngine())
    named = RunDir.open(tmp_path).facts()["given"]
    assert named == {"engine": f"{__name__}.OwnEngine"}
    with pytest.raises(UsageError, match=rf"started with engine={named['engine']} from Python; resume it there"):
        resume(tmp_path)
    engine = OwnEngine()
    resume(tmp_path, engine=engine)
    assert engine.practice > 0 and not engine.trained, "its weights are those of the last commit"


def test_in_a_running_event_loop_a_run_ends_in_the_same_bytes(tmp_path: Path):
    run(small(), tmp_path / "outside", engine=OwnEngine())

    async def cell() -> None:
        run(small(), tmp_path / "inside", engine=OwnEngine())

    before = signal.getsignal(signal.SIGINT)
    asyncio.run(cell())
    assert signal.getsignal(signal.SIGINT) is before
    for log in (Log.METRICS, Log.POPULATION, Log.EVALUATIONS):
        assert log.path(tmp_path / "inside").read_bytes() == log.path(tmp_path / "outside").read_bytes()


class Interrupts(Silent):
    """Presses Ctrl-C in the second iteration."""

    def stepped(self, report: StepReport) -> None:
        if report.step == 1:
            signal.raise_signal(signal.SIGINT)


def test_interrupting_a_cell_stops_the_run_after_saving(tmp_path: Path):
    async def cell() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a notebook, where no loop of ours takes the signal
        run(small(steps=200), tmp_path, engine=OwnEngine(), reporter=Interrupts())

    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(InterruptedRunError) as stop:
            asyncio.run(cell())
    finally:
        signal.signal(signal.SIGINT, before)
    commit = RunDir.open(tmp_path).last_commit()
    assert commit is not None and 1 <= commit.step == stop.value.step < 200


def test_a_stop_may_be_asked_for_from_anywhere(tmp_path: Path):
    stop = StopSignal()

    class Watch(Silent):
        def stepped(self, report: StepReport) -> None:
            stop.ask()

    with pytest.raises(InterruptedRunError):
        run(small(), tmp_path, engine=OwnEngine(), reporter=Watch(), stop=stop)
    assert resume(tmp_path, engine=OwnEngine()).steps == 2


def test_an_editor_of_ones_own_writes_the_reflections_and_must_be_named(tmp_path: Path):
    with pytest.raises(UsageError, match="name it, for the record, with editor_model"):
        run(small(), tmp_path / "unnamed", engine=OwnEngine(), editor=OwnEngine())
    assert not (tmp_path / "unnamed").exists()
    engine, editor = OwnEngine(), OwnEngine()
    summary = run(small(editor_model="scribe"), tmp_path / "named", engine=engine, editor=editor)
    assert summary.editor_model == "scribe" and editor.calls and not editor.trained and (engine.closed, editor.closed) == (0, 0)
    assert {call.weights for call in engine.calls} == {"current"} and {call.weights for call in editor.calls} == {"reference"}


def test_a_comparison_keeps_what_is_finished_and_resumes_the_rest(tmp_path: Path):
    opened: list[OwnEngine] = []

    def open_engine(config: RunConfig) -> OwnEngine:
        opened.append(OwnEngine())
        return opened[-1]

    quick = ESPL.varied(name="quick", population_size=2)
    chosen: dict[str, Any] = {**SHAPE, "steps": 1}
    [table] = compare(["base", quick], "rulebook", tmp_path, seeds=(0, 1), open_engine=open_engine, **chosen).tables
    assert {row.method: row.seeds for row in table.rows} == {"base": (0, 1), "quick": (0, 1)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base-s0", "base-s1", "quick-s0", "quick-s1"]
    assert [engine.closed for engine in opened] == [1, 1, 1, 1], "each run has one of its own"
    (tmp_path / "quick-s1" / "summary.json").unlink()
    [again] = compare(["base", quick], "rulebook", tmp_path, seeds=(0, 1), open_engine=open_engine, **chosen).tables
    assert len(opened) == 5 and [row.score for row in again.rows] == [row.score for row in table.rows]
    with pytest.raises(UsageError, match="another configuration: steps 1 -> 2"):
        compare([quick], "rulebook", tmp_path, seeds=(0,), open_engine=open_engine, **{**chosen, **SHAPE})
    with pytest.raises(UsageError, match="two methods are called 'quick'"):
        compare([quick, quick.varied(population_size=3)], "rulebook", tmp_path / "twice", open_engine=open_engine, **chosen)
    assert len(opened) == 5


class Echo(SingleTurnEnv):
    """Any answer will do."""

    def size(self, split: Split) -> int:
        return 8

    def problem(self, split: Split, index: int) -> Problem:
        start = list(Split).index(split) * 8 + index
        return Problem(f"{split}/{index}", split, index, f"{start // 10} {start % 10} dax 1 1 = ?", "0 0", gold="answer 0 0")

    def grade(self, problem: Problem, response: str) -> Verdict:
        return Verdict.of(espl_bench.Outcome.CORRECT if "answer" in response else espl_bench.Outcome.NO_ANSWER)


ECHO = EnvironmentSpec("echo", "my/Echo-v0", f"{__name__}:Echo", "anything", "compact", model="scripted")


def test_an_environment_need_not_be_registered(tmp_path: Path):
    config = resolve("rl_only", ECHO, SHAPE)
    assert config.env == "echo"
    summary = run(config, tmp_path / "run", env=ECHO, engine=OwnEngine())
    assert summary.env == "echo" and summary.n_items == 8
    with pytest.raises(UsageError, match=r"started with engine=.*from Python"):
        resume(tmp_path / "run")
    assert resume(tmp_path / "run", env=ECHO, engine=OwnEngine()).score == summary.score
    with pytest.raises(UsageError, match="the configuration is for environment 'rulebook', and env= is 'echo'"):
        run(small(), tmp_path / "other", env=ECHO, engine=OwnEngine())


DOWNSTREAM = """
from espl_bench import Method, Summary, mean_interval, resolve, run

row: Method = Method("mine", "a method", learns_weights=True)
summary: Summary = run(resolve(row, "rulebook", {"steps": 1}), "runs/mine")
reveal_type(mean_interval([[0.5, 1.0]]))
run(resolve("espl", "rulebook", {}), folder=7)
"""


@pytest.mark.slow
def test_a_type_checker_reads_the_installed_wheel(tmp_path: Path):
    pytest.importorskip("mypy")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    made = subprocess.run(build, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    if "No module named pip" in made.stderr or "No matching distribution" in made.stderr:
        pytest.skip("neither pip nor hatchling is to be had here")
    assert made.returncode == 0, made.stderr
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    [site] = tmp_path.glob("venv/lib/python*/site-packages")
    with ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    assert all((site / package / "py.typed").exists() for package in ("espl_bench", "espl_envs", "espl_baselines"))
    (tmp_path / "downstream.py").write_text(DOWNSTREAM)
    options = ["--python-executable", str(tmp_path / "venv/bin/python"), "--cache-dir", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "mypy", *options, "downstream.py"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S, cwd=tmp_path)
    found = [line for line in checked.stdout.splitlines() if line.startswith("downstream.py")]
    assert [line.split(": ")[0] for line in found] == ["downstream.py:6", "downstream.py:7"], checked.stdout + checked.stderr
    assert 'Revealed type is "tuple[float, float]"' in found[0].replace("builtins.", "")
    assert 'Argument "folder" to "run" has incompatible type "int"; expected "Path | str"' in found[1]
