"""FST: what its row names is what happens."""

import math
from pathlib import Path

from loop_fixtures import events, make_scripted_config, rows, run
from scripted_engine import ScriptedEngine

from espl_bench.config.resolve import resolve
from espl_bench.runs.run_dir import Log


def test_its_loss_is_its_own_unless_another_is_named():
    own, other = resolve("fst", "rulebook", {}), resolve("fst", "rulebook", {"loss": "ppo"})
    assert (own.optimisation.loss, own.optimisation.correction) == ("cispo", "none")
    assert other.optimisation.loss == "ppo"
    assert resolve("fst", "rulebook", {}, "paper").optimisation.loss == "cispo", "a preset is E-SPL's"
    assert resolve("espl", "rulebook", {}).optimisation.loss == "importance_sampling"


def test_weights_learn_always_and_words_once_a_period(tmp_path: Path):
    run(make_scripted_config("fst", steps=10, schedule_period=5), tmp_path, ScriptedEngine())
    assert [row["step"] for row in rows(tmp_path, Log.METRICS) if row["train"]] == list(range(1, 11))
    bred = {event["step"] for kind in ("born", "rejected") for event in events(tmp_path, kind) if event["origin"] != "root"}
    assert bred == {5, 10}


def test_advantages_are_normalised_once_for_a_problem_across_prompts(tmp_path: Path):
    engine = ScriptedEngine()
    run(make_scripted_config("fst", steps=8, schedule_period=2), tmp_path, engine)
    advantages = [datum.advantage for datum in engine.trained[-1]]
    groups = len(advantages) / 12
    assert groups == int(groups) > 0, "K·G rollouts of a problem are one group"
    assert math.isclose(sum(value * value for value in advantages) / len(advantages), 1.0)
