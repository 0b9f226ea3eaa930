"""Every method, loss and selector is a choice of the one loop: each really runs, and does what its row says."""

from pathlib import Path

import pytest
from espl_baselines.base import BASE
from loop_fixtures import (
    SHAPE,
    all_methods,
    breeding_steps,
    check_population,
    events,
    last_commit,
    loop_methods,
    make_config,
    make_scripted_config,
    rows,
    run,
)
from scripted_engine import ScriptedEngine

from espl_bench.evolution.acceptance import find_acceptance
from espl_bench.method import ESPL, EditorChoice, find_method
from espl_bench.registry import LOSSES, SELECTORS, names
from espl_bench.runs.run_dir import TRIAL, Log, RunDir
from espl_bench.utils.jsonl import decode

METHODS = ("base", "espl", "evolution_only", "reflection_only", "rl_only")


def test_the_published_methods_are_registered():
    assert set(METHODS) <= set(all_methods())
    assert find_method("espl") is ESPL
    assert find_method("base") is BASE


@pytest.mark.parametrize("name", all_methods())
def test_every_registered_method_is_called_by_its_name(name: str):
    assert find_method(name).name == name
    assert find_method(name).summary


@pytest.mark.parametrize("name", loop_methods())
def test_every_method_of_the_loop_runs(name: str, lab_model: Path, tmp_path: Path):
    method = find_method(name)
    config = make_config(lab_model, name, steps=2)
    summary = run(config, tmp_path)
    steps = 0 if method.is_static else 2
    assert (summary.method, summary.steps, summary.n_items) == (name, steps, 100)
    assert [row["step"] for row in rows(tmp_path, Log.METRICS)] == list(range(1, steps + 1))
    trials = sum(len(RunDir(tmp_path).read_rollouts(step, decode, TRIAL)) for step in RunDir(tmp_path).rollout_steps(TRIAL))
    assert summary.ledger.rollouts == steps * 3 * 4 * 4 + trials
    assert (trials > 0) <= find_acceptance(method.acceptance).rolls_out
    assert (summary.ledger.train_tokens > 0) == method.learns_weights
    assert (summary.ledger.reflection_calls > 0) == bool(breeding_steps(config))
    assert [row["split"] for row in rows(tmp_path, Log.EVALUATIONS)] == ["validation", "test"]
    check_population(tmp_path)


def test_base_makes_no_training_rollouts(tmp_path: Path):
    engine = ScriptedEngine()
    summary = run(make_scripted_config("base"), tmp_path, engine)
    assert [call.weights for call in engine.calls] == ["current", "current"], "one call for each held-out split"
    assert (summary.ledger.rollouts, summary.ledger.generated_tokens, engine.trained) == (0, 0, [])
    assert RunDir(tmp_path).rollout_steps() == []


def test_the_rows_differ_in_what_they_say():
    row = {name: find_method(name) for name in METHODS}
    assert {name for name in METHODS if row[name].learns_weights} == {"espl", "rl_only"}
    assert {name for name in METHODS if row[name].operators} == {"espl", "evolution_only", "reflection_only"}
    assert row["reflection_only"].operators == ("mutation",)
    assert row["rl_only"].baseline == "across_prompts"
    assert row["espl"].operators == row["evolution_only"].operators == ("mutation", "crossover")
    assert {row[name].editor for name in METHODS} == {EditorChoice.REFERENCE}


def test_reflection_keeps_one_prompt_the_newest(tmp_path: Path):
    run(make_scripted_config("reflection_only", steps=8), tmp_path, ScriptedEngine())
    [member] = last_commit(tmp_path).population["members"]
    born = events(tmp_path, "born")
    assert len(born) > 2 and member["id"] == born[-1]["id"]
    assert all(row["parents"] == [row["id"] - 1] for row in born[1:])
    assert {row["origin"] for row in born + events(tmp_path, "rejected")} == {"root", "mutation"}


def test_evolution_breeds_by_both_operators(tmp_path: Path):
    run(make_scripted_config("evolution_only", steps=16, crossover_prob=1.0), tmp_path, ScriptedEngine())
    assert {row["origin"] for row in events(tmp_path, "born")} == {"root", "mutation", "crossover"}


def test_what_evolution_learns_is_true_more_often_than_chance(tmp_path: Path):
    from espl_envs.lab.language import principle
    from espl_envs.rulebook.env import hidden_meanings

    summary = run(make_scripted_config("evolution_only", steps=30, batch_size=10, group_size=5), tmp_path, ScriptedEngine())
    truths = {principle(symbol, meaning) for symbol, meaning in hidden_meanings(0).items()}
    assert len(truths & set(summary.shown_prompt)) >= 3, "one in ten would be chance"


@pytest.mark.parametrize("loss", names(LOSSES))
def test_every_loss_trains_the_real_model(loss: str, lab_model: Path, tmp_path: Path):
    run(make_config(lab_model, "espl", loss=loss, steps=2, lr=0.005), tmp_path)
    trained = [row["train"] for row in rows(tmp_path, Log.METRICS)]
    assert all(step["grad_norm"] > 0 and step["skipped_steps"] == 0 for step in trained)
    assert all(step["ratio_mean"] == pytest.approx(1, abs=1e-4) for step in trained), "sampler and trainer have the same weights"


@pytest.mark.parametrize("selector", names(SELECTORS))
def test_every_selector_runs(selector: str, tmp_path: Path):
    run(make_scripted_config(selector=selector, steps=8), tmp_path, ScriptedEngine())
    check_population(tmp_path)
    for row in events(tmp_path, "rated")[1:]:
        born = [prompt["id"] for prompt in events(tmp_path, "born") if prompt["step"] < row["step"]]
        assert str(born[-1]) in row["means"], "the newest is always in the batch"


def test_the_current_weights_as_editor_run_on_the_real_model(lab_model: Path, tmp_path: Path):
    run(make_config(lab_model, editor="current", steps=3), tmp_path)
    check_population(tmp_path)
    assert len(events(tmp_path, "born")) > 1


@pytest.mark.parametrize(
    "choices", [{"group_size": 1}, {"num_prompts": 1}, {"batch_size": 1}, {"batch_size": 1000, "num_prompts": 1, "steps": 1}]
)
def test_small_and_large_batches_run(choices: dict, tmp_path: Path):
    summary = run(make_scripted_config(**choices), tmp_path, ScriptedEngine())
    shape = SHAPE | choices
    assert summary.ledger.rollouts == shape["steps"] * shape["num_prompts"] * min(256, shape["batch_size"]) * shape["group_size"]
    check_population(tmp_path)


def test_a_root_with_principles_is_shown_from_the_start(tmp_path: Path):
    engine = ScriptedEngine()
    summary = run(make_scripted_config("base", root_principles=("dax larger",)), tmp_path, engine)
    assert summary.shown_prompt == ("dax larger",)
    assert "[G0] dax larger" in engine.chat.decode(engine.calls[0].requests[0].prompt_T)
