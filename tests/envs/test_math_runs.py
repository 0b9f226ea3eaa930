"""The paper's experiment on its real problems, with a tiny chat model: every method, from the command line to the verified result."""

import json
from collections import Counter
from pathlib import Path

import pytest
from loop_fixtures import adapter, breeding_steps, check_population, events, loop_methods, rows
from resume_fixtures import PulledError, PullsThePlug, check_same_rollouts, summary
from tiny_qwen import make_tiny_qwen, teach_to_guess

from espl_bench import runner
from espl_bench.cli.app import invoke
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.environment.catalogue import find_environment, make_environment
from espl_bench.method import find_method
from espl_bench.rollouts.batches import training_batch
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import Split
from espl_bench.utils.jsonl import decode

SHAPE = {"steps": 2, "num_prompts": 2, "batch_size": 3, "group_size": 4, "max_tokens": 20, "editor_max_tokens": 12, "lora_rank": 4}
SHAPE |= {"eval_samples": 1, "eval_every": 0, "checkpoint_every": 1, "lr": 1e-3}
ROLLOUTS = 2 * 3 * 4
ITEMS = {"validation": 20, "test": 100}


@pytest.fixture(scope="module")
def problems(imported_data: Path) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPL_BENCH_DATA", str(imported_data))
        env = make_environment(find_environment("beyondaime"), {})
        return [env.problem(Split.TRAIN, index).question for index in range(env.size(Split.TRAIN))]


@pytest.fixture(scope="module")
def random_model(problems: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_qwen(tmp_path_factory.mktemp("qwen"), problems)


@pytest.fixture(scope="module")
def guessing_model(random_model: Path, problems: list[str], imported_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It guesses among the answers of the first two batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPL_BENCH_DATA", str(imported_data))
        env = make_environment(find_environment("beyondaime"), {})
        answers = [problem.answer for step in (0, 1) for problem in training_batch(env, 0, step, 3)]
    return teach_to_guess(random_model, tmp_path_factory.mktemp("guessing"), problems, answers)


def configure(model: Path, method: str, **choices: object) -> RunConfig:
    return resolve(method, "beyondaime", SHAPE | {"model": str(model)} | choices)


def typed(model: Path, method: str, folder: Path) -> list[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SHAPE.items()]
    return ["run", f"--method={method}", "--env=beyondaime", f"--model={model}", f"--out={folder}", "--json", *options]


def check_verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert invoke(["verify", str(folder), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["agrees"], record["score"]) == (True, RunDir(folder).summary().score)
    assert record["rollouts"] == sum(ITEMS.values()) + ROLLOUTS * len(RunDir(folder).rollout_steps())


@pytest.mark.parametrize("method", loop_methods())
def test_every_method_runs_on_the_real_problems(
    method: str, random_model: Path, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "run"
    assert invoke(typed(random_model, method, folder)) == 0
    found = json.loads(capsys.readouterr().out)
    row = find_method(method)
    steps = 0 if row.is_static else 2
    assert found["score"] <= 0.02 and found["validation_score"] <= 0.05, "it knows nothing"
    assert (found["n_items"], found["k"], found["steps"]) == (100, 1, steps)
    assert set(found["data_identity"]) == {"train", "validation", "test"}
    assert found["ledger"]["rollouts"] == steps * ROLLOUTS and found["ledger"]["eval_rollouts"] == 120
    for step in range(1, steps + 1):
        stored = RunDir(folder).read_rollouts(step, decode)
        groups = Counter((each["prompt_id"], each["slot"], each["problem_id"]) for each in stored)
        assert set(groups.values()) == {4} and len(stored) == ROLLOUTS
        assert all(1 <= each["generated_tokens"] <= 20 for each in stored)
        assert sum(each["generated_tokens"] for each in stored) == rows(folder, Log.METRICS)[step - 1]["generated_tokens"]
    rejected = events(folder, "rejected")
    assert bool(rejected) == bool(breeding_steps(RunDir(folder).config()))
    assert {each["reason"] for each in rejected} <= {"no_contrast", "no_rival"}
    check_verified(folder, capsys)


def test_reflections_that_are_no_edits_are_recorded_and_a_run_that_broke_ends_like_one_that_did_not(
    guessing_model: Path, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = configure(guessing_model, "espl")
    runner.run(config, tmp_path / "unbroken")
    rewards = [row["reward"] for row in rows(tmp_path / "unbroken", Log.METRICS)]
    assert all(0 < reward < 1 for reward in rewards), "right and wrong answers side by side"
    rejected = events(tmp_path / "unbroken", "rejected")
    mutations = [each for each in rejected if each["origin"] == "mutation"]
    assert [each["reason"] for each in mutations] == ["unparseable"] * 2
    assert all("critique of aime-2022-2024/" in each["detail"] for each in mutations), "and the text that was no edit is named"
    found = RunDir(tmp_path / "unbroken").summary()
    assert found.ledger.reflection_calls > 0 and 0 < found.ledger.reflection_tokens <= 12 * found.ledger.reflection_calls
    assert found.ledger.train_tokens > found.ledger.generated_tokens, "prompts pass through a training step too"
    check_population(tmp_path / "unbroken")
    for after in (1, 2):
        folder = tmp_path / f"broken{after}"
        with pytest.raises(PulledError):
            runner.run(config, folder, reporter=PullsThePlug(after))
        assert invoke(["verify", str(folder), "--quiet"]) == 0, "as far as it went"
        runner.resume(folder)
        for log in (Log.METRICS, Log.POPULATION, Log.EVALUATIONS):
            assert log.path(folder).read_bytes() == log.path(tmp_path / "unbroken").read_bytes()
        check_same_rollouts(folder, tmp_path / "unbroken")
        assert summary(folder) == summary(tmp_path / "unbroken")
        assert adapter(folder) == adapter(tmp_path / "unbroken")
        check_verified(folder, capsys)


def test_weights_learn_from_the_guesses_that_were_right(guessing_model: Path, real_data: Path, tmp_path: Path):
    for place, lr in enumerate((0.0, 1e-3)):
        runner.run(configure(guessing_model, "rl_only", lr=lr, steps=1), tmp_path / str(place))
    assert adapter(tmp_path / "0") != adapter(tmp_path / "1")
    [row] = rows(tmp_path / "1", Log.METRICS)
    assert row["train"]["ratio_mean"] == pytest.approx(1, abs=1e-3), "the trainer sees what the sampler saw"
