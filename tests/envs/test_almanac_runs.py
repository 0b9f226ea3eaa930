"""Whole runs of the almanac with the shipped model: every method searches and answers; a killed run ends as an unbroken one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from espl_envs.almanac.words import HOUSE_WORDS, RELATIONS, SOURCE, SOURCES
from loop_fixtures import adapter, breeding_steps, check_mutations, check_population, events, loop_methods, rows
from patience import PATIENCE_S
from resume_fixtures import check_same_rollouts, summary

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.environment.catalogue import find_environment
from espl_bench.method import find_method
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.utils.jsonl import decode

SHAPE = {"steps": 2, "num_prompts": 2, "batch_size": 8, "group_size": 5, "eval_samples": 1, "eval_every": 0, "checkpoint_every": 1}
SHAPE |= {"lora_rank": 4}

KILLED = """
import os, signal, sys
from pathlib import Path
from espl_envs.almanac.env import AlmanacEnv
from espl_bench.cli.app import invoke
folder, command = Path(sys.argv[1]), sys.argv[2:]
use = AlmanacEnv.use
def killed(self, tool, arguments):
    metrics = folder / "metrics.jsonl"
    if metrics.exists() and metrics.read_bytes().count(b"\\n") >= 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return use(self, tool, arguments)
AlmanacEnv.use = killed
invoke(command)
"""
"""A run whose process dies while an episode of its second step searches."""


def configure(method: str, **choices: object) -> RunConfig:
    return resolve(method, "almanac", SHAPE | choices)


def typed() -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in SHAPE.items()]


def stored(folder: Path) -> list[dict]:
    return [row for step in RunDir(folder).rollout_steps() for row in RunDir(folder).read_rollouts(step, decode)]


def is_principle(text: str) -> bool:
    """Whether it says which source to ask, or which word a relation is called by."""
    topic, choice = text.split()
    return choice in (SOURCES if topic == SOURCE else HOUSE_WORDS) and topic in (SOURCE, *RELATIONS)


def test_it_needs_no_model_to_be_named():
    assert Path(find_environment("almanac").model or "").name == "espl-lab-search-v0"
    assert Path(configure("espl").model).is_dir()


@pytest.mark.parametrize("method", loop_methods())
def test_every_method_searches_answers_and_is_verified(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder, row = tmp_path / "run", find_method(method)
    assert invoke(["run", f"--method={method}", "--env=almanac", f"--out={folder}", "--json", *typed()]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_items"] == 100 and found["steps"] == (0 if row.is_static else 2)
    assert "error" not in found["outcomes"] and "truncated" not in found["outcomes"]
    rollouts = stored(folder)
    assert all(len(each["turns"]) in (2, 3) for each in rollouts), "it searches, and answers in the end"
    assert not any("Error" in reply["text"] for each in rollouts for turn in each["heard"] for reply in turn)
    if row.operators:
        check_population(folder)
        check_mutations(folder)
        children, breeding = events(folder, "born")[1:], breeding_steps(RunDir(folder).config())
        assert bool(children or events(folder, "rejected")) == bool(breeding)
        assert children or len(breeding) < found["steps"], "of two steps one has a problem with right and wrong answers"
        assert all(is_principle(text) for child in children for text in child["principles"])
    assert invoke(["verify", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agrees"] is True


def test_what_the_words_learn_are_house_words_and_which_source_to_ask(tmp_path: Path):
    config = configure("evolution_only", steps=4, batch_size=10, num_prompts=1)
    runner.run(config, tmp_path / "run")
    topics = {text.split()[0] for event in events(tmp_path / "run", "born")[1:] for text in event["principles"]}
    assert SOURCE in topics and len(topics) > 1


def test_killed_in_the_middle_of_an_episode_it_ends_as_if_it_had_not_been(tmp_path: Path):
    folder, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    runner.run(configure("espl"), unbroken)
    command = [sys.executable, "-c", KILLED, str(folder), "run", "--env=almanac", f"--out={folder}", "--quiet", *typed()]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, timeout=PATIENCE_S, check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL and not (folder / "summary.json").exists()
    runner.resume(folder)
    for log in (Log.METRICS, Log.POPULATION, Log.EVALUATIONS):
        assert log.path(folder).read_bytes() == log.path(unbroken).read_bytes()
    check_same_rollouts(folder, unbroken)
    assert summary(folder) == summary(unbroken) and adapter(folder) == adapter(unbroken)
    assert rows(folder, Log.METRICS)
