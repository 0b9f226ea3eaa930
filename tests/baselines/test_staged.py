"""Staged learning: which half learns when, under which prompt, and that each has half of the budget."""

from pathlib import Path

import pytest
from loop_fixtures import events, make_scripted_config, rows, run
from scripted_engine import ScriptedEngine

from espl_bench.config.resolve import resolve
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.utils.jsonl import decode

SHAPE = {"steps": 8, "num_prompts": 3, "batch_size": 4, "group_size": 4}


def prompts_of(folder: Path, step: int) -> set[int]:
    return {row["prompt_id"] for row in RunDir(folder).read_rollouts(step, decode)}


def trained(folder: Path) -> list[int]:
    return [row["step"] for row in rows(folder, Log.METRICS) if row["train"]]


def bred(folder: Path) -> set[int]:
    return {event["step"] for kind in ("born", "rejected") for event in events(folder, kind) if event["origin"] != "root"}


def test_the_prompt_first_then_the_weights_under_the_best_prompt_alone(tmp_path: Path):
    run(make_scripted_config("prompt_then_weights", **SHAPE | {"steps": 16}), tmp_path, ScriptedEngine())
    first, second = range(1, 9), range(9, 17)
    assert trained(tmp_path) == list(second) and bred(tmp_path) == set(first)
    shown = {row["step"]: row["shown"] for row in rows(tmp_path, Log.METRICS)}
    assert shown[8] != 0, "a prompt was learned"
    assert all(prompts_of(tmp_path, step) == {shown[8]} == {shown[step]} for step in second)


def test_the_weights_first_under_the_root_prompt_alone(tmp_path: Path):
    run(make_scripted_config("weights_then_prompt", **SHAPE), tmp_path, ScriptedEngine())
    assert trained(tmp_path) == [1, 2, 3, 4] and bred(tmp_path) == {5, 6, 7, 8}
    assert all(prompts_of(tmp_path, step) == {0} for step in (1, 2, 3, 4))


@pytest.mark.parametrize("method", ["prompt_then_weights", "weights_then_prompt"])
def test_the_places_of_one_prompt_form_one_group(method: str, tmp_path: Path):
    engine = ScriptedEngine()
    run(make_scripted_config(method, **SHAPE), tmp_path, engine)
    step = trained(tmp_path)[0]
    by_problem: dict[str, list[float]] = {}
    for row in RunDir(tmp_path).read_rollouts(step, decode):
        by_problem.setdefault(row["problem_id"], []).append(row["reward"])
    expected = sorted(
        round(reward - sum(rewards) / len(rewards), 9) for rewards in by_problem.values() for reward in rewards if len(set(rewards)) > 1
    )
    assert all(len(rewards) == 12 for rewards in by_problem.values())
    assert sorted(round(datum.advantage, 9) for datum in engine.trained[0]) == expected


@pytest.mark.parametrize("preset", ["paper", "reference-code"])
def test_a_preset_leaves_what_a_staged_row_is(preset: str):
    method = resolve("prompt_then_weights", "rulebook", {}, preset).method
    assert method == resolve("prompt_then_weights", "rulebook", {}).method
