"""`--config FILE.toml`: options as on the command line, by the same rules; what is typed goes before; no file chooses contacts."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import make_config

from espl_bench.cli.app import invoke
from espl_bench.cli.commands import compare
from espl_bench.cli.commands import run as run_command
from espl_bench.cli.commands.batch import BatchPlan

EXAMPLE = Path(__file__).parents[2] / "docs" / "run.toml"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What `run` is configured with; nothing is run."""
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(run_command, "configure", lambda *given: seen.append(given) or make_config())
    monkeypatch.setattr(run_command, "dry_run", lambda config, as_json, budget: None)
    return seen


def written(folder: Path, text: str) -> str:
    (folder / "run.toml").write_text(text)
    return str(folder / "run.toml")


WHOLE = """
method = "rl_only"
env = "almanac"
seed = 3
steps = 4
lr = 1e-5
loss = "ppo"
mask-truncated = true
sleep = false
principle = ["one", "two, or three"]
preset = "paper"
track = ["tensorboard"]
max_cost = 2
retriever = "bm25"

[env_option]
world = 7
text = "7"
nested = { sets = ["x", 2] }

[data]
test = "problems.jsonl"
"""
AS_TYPED = [
    *("--method=rl_only", "--env=almanac", "--seed=3", "--steps=4", "--lr=1e-05", "--loss=ppo", "--mask-truncated", "--no-sleep"),
    *("--principle=one", "--principle=two, or three", "--preset=paper", "--track=tensorboard", "--max-cost=2", "--retriever=bm25"),
    *("--env-option=world=7", '--env-option=text="7"', '--env-option=nested={"sets": ["x", 2]}', "--data=test=problems.jsonl"),
]


def plain(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """What was configured, without where it was read."""
    *named, chosen = given
    return (*named, chosen.values, chosen.choices(), chosen.preset, chosen.track, chosen.spending)


def test_a_file_says_what_the_command_line_would(configured, tmp_path):
    assert invoke(["run", "--config", written(tmp_path, WHOLE), "--dry-run"]) == 0
    assert invoke(["run", *AS_TYPED, "--dry-run"]) == 0
    assert plain(configured[0]) == plain(configured[1])


def test_what_is_typed_goes_before(configured, tmp_path):
    config = written(tmp_path, WHOLE)
    over = [
        *("--steps", "9", "--no-mask-truncated", "--sleep", "--principle", "mine", "--env-option", "world=8", "--data=test=mine.jsonl"),
        *("--env-option=retriever=http", "--env-option=lr=2", "--seed=0"),
    ]
    assert invoke(["run", *over, "--config", config, "--dry-run"]) == 0
    method, env, seed, chosen = configured[0]
    assert (method, env, seed) == ("rl_only", "almanac", 0)
    assert chosen.values == {"steps": 9, "lr": 1e-5, "loss": "ppo", "mask_truncated": False, "sleep": True}
    options = chosen.choices()["env_options"]
    assert options == {"world": 8, "text": "7", "nested": {"sets": ["x", 2]}, "test": "mine.jsonl", "retriever": "http", "lr": 2}
    assert chosen.principles == ("mine",)


def test_an_alternative_that_is_typed_replaces_the_one_in_the_file(configured, tmp_path):
    (tmp_path / "root.txt").write_text("from a file\n")
    config = written(tmp_path, 'principle = ["one"]')
    assert invoke(["run", "--config", config, "--root-prompt", str(tmp_path / "root.txt"), "--dry-run"]) == 0
    assert configured[0][3].principles == ("from a file",)


@pytest.mark.parametrize(("text", "budget"), [('"auto"', None), ("512", 512)])
def test_a_word_may_stand_for_a_number_that_is_worked_out(configured, tmp_path, text, budget):
    assert invoke(["run", "--config", written(tmp_path, f"token_budget = {text}"), "--dry-run"]) == 0
    assert invoke(["run", f"--token-budget={json.loads(text)}", "--dry-run"]) == 0
    assert [chosen.values.get("token_budget") for _, _, _, chosen in configured] == [budget, budget]


def test_the_example_in_the_docs_is_one(configured):
    assert invoke(["run", "--config", str(EXAMPLE), "--dry-run"]) == 0
    assert configured[0][3].choices()["env_options"] == {"world": 3}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stepz = 3", "unknown option 'stepz'; did you mean 'steps'?"),
        ("[env_options]\nworld = 1", "unknown option 'env_options'; did you mean 'env_option'?"),
        ("qqqqqqqq = 3", "unknown option 'qqqqqqqq'; its names are those of --help"),
        ("steps = 3.5", "steps takes a whole number, not 3.5"),
        ('steps = "3"', "steps takes a whole number, not '3'"),
        ('steps = "auto"', "steps takes a whole number, not 'auto'"),
        ('token_budget = "much"', "token_budget takes a whole number or 'auto', not 'much'"),
        ("steps = true", "steps takes a whole number, not True"),
        ("lr = 2026-01-01", "lr takes a number, not"),
        ("method = 3", "method takes a text, not 3"),
        ('sleep = "yes"', "sleep takes true or false, not 'yes'"),
        ("sleep = 1", "sleep takes true or false, not 1"),
        ('principle = "one"', "principle takes a list, as in:"),
        ("principle = [1]", "principle takes a text, not 1"),
        ("loss = ['ppo', 'cispo']", "loss takes a text, not ['ppo', 'cispo']"),
        ("env_option = 3", "env_option is a table, as in:"),
        ("[env_option]\nday = 2026-01-01", "env_option.day takes a value that JSON has, not 2026-01-01"),
        ('[env_option]\n"a=b" = 1', "env_option has the name 'a=b'; a name holds no ="),
        ("[data]\ntest = ['a', 'b']", "data takes a text, not ['a', 'b']"),
        ("num-prompts = 1\nnum_prompts = 2", "num_prompts and num-prompts are the same option; give one of them"),
        ("sampling_groups = 1\ncohorts = 2", "cohorts and sampling_groups are the same option; give one of them"),
        ("steps = ", "is no TOML file"),
        *((f"{name} = true", f"{name} is said on the command line, not in a file") for name in ("dry_run", "json", "quiet")),
        *((f'{name} = ["x"]', f"{name} is said on the command line") for name in ("contact", "send-key", "config")),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(configured, tmp_path, capsys, text, told):
    config = written(tmp_path, text)
    assert invoke(["run", "--config", config, "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert told in error and "run.toml" in error and error.count("\n") == 1
    assert configured == []


@pytest.mark.parametrize("text", ['loss = "pppo"', 'engine = "hff"', 'method = "esp"'])
def test_a_value_is_checked_by_the_rules_of_the_command_line(tmp_path, capsys, text):
    assert invoke(["run", "--config", written(tmp_path, text), "--dry-run"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert invoke(["run", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml cannot be read" in capsys.readouterr().err


def test_a_comparison_reads_the_same_file_with_its_own_names(tmp_path, monkeypatch):
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(compare, "make_plan", lambda *given: seen.append(given) or BatchPlan(tmp_path, (), ()))
    monkeypatch.setattr(compare, "carry_out", lambda *given: 0)
    config = written(tmp_path, f'methods = ["base", "espl"]\nseed_list = [0, 7]\nsteps = 3\nout = "{tmp_path}"\njobs = 2\n')
    assert invoke(["compare", "--config", config]) == 0
    assert invoke(["compare", "--config", config, "--seeds", "2"]) == 0
    assert [given[:3] for given in seen] == [("base,espl", "rulebook", (0, 7)), ("base,espl", "rulebook", (0, 1))]
    assert seen[0][3].values == {"steps": 3}


ENDPOINT = """
method = "evolution_only"
env = "rulebook"
engine = "openai"
model = "m"
steps = 1
base_url = "http://127.0.0.1:9/v1"
"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What would have been started; nothing is asked for."""
    seen: list[object] = []
    monkeypatch.setattr(run_command, "start", lambda *given: seen.append(given[0]))
    return seen


def test_an_endpoint_that_a_file_names_is_confirmed(started, tmp_path, capsys):
    config = written(tmp_path, ENDPOINT + 'api_key_env = "LAB_KEY"\n')
    assert invoke(["run", "--config", config, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "would connect to the model m at http://127.0.0.1:9/v1, which gets the key in LAB_KEY" in error
    assert f"espl-bench run --config {config} --contact=http://127.0.0.1:9/v1 --send-key=LAB_KEY" in error
    assert started == []
    assert invoke(["run", "--config", config, "--quiet", "--dry-run"]) == 2, "not even to see what it would cost"
    assert invoke(["run", "--config", config, "--quiet", "--contact=http://127.0.0.1:9/v1", "--send-key=LAB_KEY"]) == 0
    assert invoke(["run", "--config", config, "--quiet"]) == 0, "what was confirmed is remembered for this very file"
    written(tmp_path, ENDPOINT + 'api_key_env = "OTHER_KEY"\n')
    assert invoke(["run", "--config", config, "--quiet"]) == 2
    assert len(started) == 2


def test_what_is_typed_is_chosen_by_the_user(started, tmp_path, capsys):
    config = written(tmp_path, ENDPOINT)
    url = "--base-url=http://127.0.0.1:9/v1"
    assert invoke(["run", "--config", config, "--quiet", url]) == 0
    written(tmp_path, ENDPOINT + 'api_key_env = "LAB_KEY"\n')
    assert invoke(["run", "--config", config, "--quiet", url]) == 2, "the address was typed, the key to send there was not"
    assert invoke(["run", "--config", config, "--quiet", url, "--api-key-env=LAB_KEY"]) == 0
    capsys.readouterr()
    written(tmp_path, ENDPOINT.replace("base_url", "editor_base_url") + 'editor_engine = "openai"\neditor_model = "e"\n')
    assert invoke(["run", "--config", config, "--quiet", "--base-url=http://127.0.0.1:8/v1"]) == 2, "the editor's address was not typed"
    assert "the editor e at http://127.0.0.1:9/v1" in capsys.readouterr().err


def test_a_comparison_asks_as_well(tmp_path, capsys):
    config = written(tmp_path, ENDPOINT.replace('method = "evolution_only"', 'methods = "evolution_only"'))
    assert invoke(["compare", "--config", config, "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert f"espl-bench compare --config {config} --contact=http://127.0.0.1:9/v1" in capsys.readouterr().err
