"""A stranger's package, built and installed, adds one of everything; runs that use it resume, verify and are tabulated as any other."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import PATIENCE_S

from espl_bench.prompts.dialect import COMPACT

PLUGIN = Path(__file__).parent / "support" / "plugin"
LOGS = ("metrics.jsonl", "population.jsonl", "evaluations.jsonl")
SHAPE = ("--num-prompts=2", "--batch-size=3", "--group-size=3", "--eval-every=0", "--checkpoint-every=1", "--quiet")
Cli = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command line where the package is installed."""
    source, site = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("site")
    shutil.copytree(PLUGIN, source)
    shutil.copytree(COMPACT, source / "espl_plugin" / "words")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*pip, f"--target={site}", str(source)], check=True, timeout=PATIENCE_S)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)])}

    def call(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "espl_bench", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert done.returncode == code, done.stderr + done.stdout
        return done

    return call


def cut_back(run: Path, copy: Path, step: int) -> Path:
    """The run as a kill after `step`'s checkpoint leaves it: without summary and later checkpoints, logs longer than committed."""
    shutil.copytree(run, copy)
    (copy / "summary.json").unlink()
    for folder in (copy / "checkpoints").glob("step_*"):
        if int(folder.name.removeprefix("step_")) > step:
            shutil.rmtree(folder)
    return copy


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("plugin_espl", ("--steps=3", "--loss=plugin_logprob", "--engine=plugin_engine")),
        ("plugin_climb", ("--steps=2",)),
    ],
)
def test_a_run_of_what_a_package_adds_resumes_verifies_and_is_tabulated(cli: Cli, tmp_path: Path, method: str, options: tuple[str, ...]):
    run = tmp_path / method
    cli("run", "--method", method, "--env=plugin_world", f"--out={run}", *SHAPE, *options)
    steps = json.loads((run / "summary.json").read_text())["steps"]
    resumed = cut_back(run, tmp_path / "resumed", steps - 1)
    cli("resume", str(resumed), "--quiet")
    for log in LOGS:
        assert (resumed / log).read_bytes() == (run / log).read_bytes(), log
    cli("verify", str(run))
    assert method in cli("table", str(run)).stdout


def test_the_row_did_what_it_names(cli: Cli, tmp_path: Path):
    run = tmp_path / "run"
    cli("run", "--method=plugin_espl", "--env=plugin_world", "--steps=2", f"--out={run}", *SHAPE)
    events = [json.loads(line) for line in (run / "population.jsonl").read_text().splitlines()]
    born = [event for event in events if event["event"] == "born" and event["origin"] == "plugin_shuffle"]
    turned_away = [event for event in events if event["event"] == "rejected" and event["reason"] == "not_accepted"]
    assert len(born) + len([event for event in turned_away if event["origin"] == "plugin_shuffle"]) == 2, "two children, in step 1 alone"
    assert all(" against " in event.get("acceptance", event.get("detail", "")) for event in [*born, *turned_away])
    trials = list((run / "rollouts").glob("trial_*.jsonl"))
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    judged = sum(len(trial.read_text().splitlines()) for trial in trials)
    trained = sum(len((run / "rollouts" / f"step_{row['step']:06}.jsonl").read_text().splitlines()) for row in metrics)
    assert json.loads((run / "summary.json").read_text())["ledger"]["rollouts"] == trained + judged > trained == 2 * 2 * 3 * 3


def test_a_control_of_a_package_is_its_own_row(cli: Cli, tmp_path: Path):
    run = tmp_path / "run"
    cli("run", "--method=base", "--env=plugin_world", "--control=plugin-no-prompt", f"--out={run}", "--quiet")
    assert "base (plugin-no-prompt)" in cli("table", str(run)).stdout


def test_a_plug_in_that_does_not_import_costs_one_line(cli: Cli):
    listed = {row["name"]: row for row in json.loads(cli("methods", "--json").stdout)}
    assert "cannot be loaded from espl_plugin.not_there:ROW" in listed["plugin_broken"]["error"] and "espl" in listed
    failed = cli("run", "--method=plugin_broken", "--env=plugin_world", code=2)
    assert failed.stderr.count("\n") == 1 and "reinstall its package" in failed.stderr


@pytest.mark.parametrize(
    ("option", "nearest"),
    [
        ("--selector=plugin_paretto", "plugin_pareto"),
        ("--loss=plugin_logprop", "plugin_logprob"),
        ("--baseline=plugin_medan", "plugin_median"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(cli: Cli, option: str, nearest: str):
    failed = cli("run", "--method=espl", "--env=rulebook", option, code=2)
    assert f"did you mean '{nearest}'" in failed.stderr
