"""Every rival of the one loop: broken after any step it ends as if unbroken, and what it leaves is verified and tabulated."""

import json
from pathlib import Path

import pytest
from loop_fixtures import make_config, make_scripted_config, run
from resume_fixtures import PulledError, PullsThePlug, check_same_rollouts, summary
from scripted_engine import ScriptedEngine

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.runs.run_dir import Log

RIVALS = ("prompt_then_weights", "weights_then_prompt", "fst", "tf_grpo", "distill", "espl_distill")
LOGS = (Log.METRICS, Log.POPULATION, Log.EVALUATIONS)
pytestmark = pytest.mark.slow
SHAPE = {"steps": 6, "eval_every": 2, "checkpoint_every": 2, "schedule_period": 2, "batch_size": 4, "group_size": 4}


def shape(method: str) -> dict[str, int]:
    return SHAPE if method == "fst" else {name: value for name, value in SHAPE.items() if name != "schedule_period"}


@pytest.mark.parametrize("method", RIVALS)
def test_stopped_after_any_step_it_ends_the_same(method: str, tmp_path: Path):
    config = make_scripted_config(method, **shape(method))
    run(config, tmp_path / "unbroken", ScriptedEngine())
    for after in range(1, 7):
        broken = tmp_path / f"broken-{after}"
        with pytest.raises(PulledError):
            runner.run(config, broken, reporter=PullsThePlug(after), engine=ScriptedEngine())
        runner.resume(broken, engine=ScriptedEngine())
        for log in LOGS:
            assert log.path(broken).read_bytes() == log.path(tmp_path / "unbroken").read_bytes()
        check_same_rollouts(broken, tmp_path / "unbroken")
        assert summary(broken) == summary(tmp_path / "unbroken")


@pytest.mark.parametrize("method", RIVALS)
def test_the_real_model_learns_by_it_and_its_run_is_verified_tabulated_and_published(
    method: str, lab_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "run"
    done = run(make_config(lab_model, method, **shape(method) | {"steps": 4}), folder)
    assert (done.ledger.rollouts, done.steps) == (4 * 3 * 4 * 4, 4), "the budget of every method"
    assert (done.ledger.train_tokens > 0) == (method != "tf_grpo") and done.ledger.reflection_calls > 0
    assert invoke(["verify", str(folder), "--quiet"]) == 0
    assert invoke(["results", "add", str(folder), f"--results={tmp_path / 'results'}", "--quiet"]) == 0
    capsys.readouterr()
    assert invoke(["table", str(folder), "--json"]) == 0
    assert method in json.dumps(json.loads(capsys.readouterr().out))
