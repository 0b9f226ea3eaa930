import json
import os
from pathlib import Path

import pytest

from espl_bench.build import loss_spec, open_run
from espl_bench.config.resolve import read_config, resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.config.sections import METHOD_CHOICES, SamplingSection
from espl_bench.config.version_1 import first_form
from espl_bench.engines.vllm.setup import Serving, Spread
from espl_bench.environment.catalogue import find_environment
from espl_bench.errors import UsageError
from espl_bench.method import ESPL, Shown
from espl_bench.runs.claims import run_id


def test_the_papers_values_are_the_defaults():
    config = RunConfig(method=ESPL, env="rulebook", model="m")
    assert (config.batch.num_prompts, config.batch.batch_size, config.batch.group_size) == (3, 10, 5)
    assert (config.optimisation.lora_rank, config.evolution.max_edits, config.evolution.max_principle_words) == (32, 2, 32)
    assert (config.evolution.sigma_growth, config.evolution.tie, config.optimisation.lr) == (1.0, 0.01, 4e-5)
    assert (ESPL.population_size, ESPL.crossover_prob, ESPL.editor, ESPL.selector) == (10, 0.2, "reference", "top_plus_random")


def test_options_override_the_environment_which_overrides_the_defaults():
    spec = find_environment("rulebook")
    config = resolve("espl", "rulebook", {})
    assert config.sampling.max_tokens == spec.defaults["max_tokens"] != SamplingSection.model_fields["max_tokens"].default
    assert config.prompts.dialect == spec.dialect
    assert config.model == spec.model
    assert resolve("espl", "rulebook", {"max_tokens": 7, "dialect": None}).sampling.max_tokens == 7


@pytest.mark.parametrize("name", METHOD_CHOICES)
def test_choices_of_a_method_change_the_row_and_nothing_else(name: str):
    value = {
        "selector": "ucb",
        "crossover_prob": 0.7,
        "baseline": "across_prompts",
        "editor": "current",
        "shown": "newest",
        "population_size": 3,
        "acceptance": "beats_parent",
        "schedule": "alternating",
        "schedule_period": 4,
        "normalisation": "standard_deviation",
        "reduction": "token_mean",
    }
    config = resolve("espl", "rulebook", {name: value[name]})
    plain = resolve("espl", "rulebook", {})
    assert getattr(config.method, name) == value[name] != getattr(plain.method, name)
    assert config.method.varied(**{name: getattr(plain.method, name)}) == plain.method
    assert config.model_dump(exclude={"method"}) == plain.model_dump(exclude={"method"})
    assert ESPL.shown is Shown.BEST, "the row itself is untouched"


def test_a_configuration_comes_back_from_its_file_equal(tmp_path: Path):
    choices = {"env_options": {"world": 7}, "clip_high": 4.0, "root_principles": ("a “quoted” √2", "b"), "crossover_prob": 1 / 3}
    config = resolve("espl", "rulebook", choices)
    (tmp_path / "config.json").write_text(config.model_dump_json(indent=2))
    assert read_config(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"temperature": -1.0}, "temperature: Input should be greater than or equal to 0"),
        ({"temperature": 0.0}, "set temperature above 0"),
        ({"group_size": 0}, "group_size"),
        ({"num_prompts": 0}, "num_prompts"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"lr": float("nan")}, "lr"),
        ({"clip_high": float("inf")}, "clip_high: Input should be a finite number"),
        ({"clip_low": 2.0, "clip_high": 1.0}, "clip_low 2.0 is above clip_high 1.0"),
        ({"population_size": 0}, "method.population_size"),
        ({"crossover_prob": 1.5}, "method.crossover_prob"),
        ({"selector": "best"}, "unknown selector 'best'"),
        ({"engine": "quantum"}, "engine"),
        ({"seed": -1}, "seed"),
        ({"wrld": 1}, "wrld"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_by_name(choices: dict, words: str):
    with pytest.raises(UsageError) as refusal:
        resolve("espl", "rulebook", choices)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("choices", "preset", "correction"),
    [
        ({}, None, "token"),
        ({"loss": "importance_sampling", "correction": "sequence"}, None, "sequence"),
        ({"loss": "cispo"}, None, "none"),
        ({"loss": "ppo"}, None, "none"),
        ({"loss": "cispo", "correction": "none"}, None, "none"),
        ({}, "paper", "none"),
        ({}, "reference-code", "none"),
        ({"correction": "token"}, "paper", "token"),
        ({"loss": "cispo"}, "paper", "none"),
    ],
)
def test_a_ratio_is_truncated_once(choices: dict, preset: str | None, correction: str):
    config = resolve("espl", "rulebook", choices, preset)
    assert config.optimisation.correction == correction == loss_spec(config).correction
    assert json.loads(config.model_dump_json())["optimisation"]["correction"] == correction, "the file says what was done"


def test_a_second_truncation_is_refused_and_an_earlier_run_with_one_is_still_read(tmp_path: Path):
    for loss in ("cispo", "ppo"):
        with pytest.raises(UsageError, match=f"correction token truncates plain ratios, and loss {loss} does not .* leave correction out"):
            resolve("rl_only", "rulebook", {"loss": loss, "correction": "token"})
    record = json.loads(resolve("rl_only", "rulebook", {"engine": "hf", "loss": "cispo"}).model_dump_json())
    record["optimisation"]["correction"] = "token"
    (tmp_path / "config.json").write_text(json.dumps(record))
    earlier = read_config(tmp_path / "config.json")
    assert earlier.optimisation.correction == "token"
    with pytest.raises(UsageError, match="correction token truncates plain ratios"):
        open_run(earlier)


def test_greedy_rollouts_are_fine_where_no_weights_learn():
    assert resolve("evolution_only", "rulebook", {"temperature": 0.0}).sampling.temperature == 0


def test_a_method_or_environment_that_is_nearly_right_is_named():
    with pytest.raises(UsageError, match="did you mean 'evolution_only'"):
        resolve("evolution", "rulebook", {})
    with pytest.raises(UsageError, match="did you mean 'rulebook'"):
        resolve("espl", "rulebok", {})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("", "not a configuration"),
        ("{", "not a configuration"),
        ("[]", "not a configuration"),
        ('{"steps": 3}', "method"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(content: str | None, words: str, tmp_path: Path):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError) as refusal:
        read_config(path)
    assert str(path) in str(refusal.value) and words in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_file_with_an_unknown_field_is_refused(tmp_path: Path):
    path = tmp_path / "config.json"
    record = json.loads(resolve("espl", "rulebook", {}).model_dump_json()) | {"tempreature": 1.0}
    path.write_text(json.dumps(record))
    with pytest.raises(UsageError, match="tempreature"):
        read_config(path)


@pytest.mark.parametrize(("method", "steps"), [("base", 0), ("rl_only", 5), ("espl", 5)])
def test_what_learns_nothing_is_not_iterated(method: str, steps: int):
    assert resolve(method, "rulebook", {"steps": 5}).iterations == steps


# Engines


@pytest.mark.parametrize(
    ("installed", "cuda", "megabytes", "engine"),
    [(True, True, 30, "vllm"), (True, False, 30, "hf"), (False, True, 30, "hf"), (True, True, 3, "hf")],
)
def test_vllm_is_chosen_where_it_is_faster(
    installed: bool, cuda: bool, megabytes: int, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import torch

    from espl_bench.engines import model_source

    (tmp_path / "model.safetensors").touch()
    os.truncate(tmp_path / "model.safetensors", megabytes * 1_000_000)
    monkeypatch.setattr(model_source, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert resolve("espl", "rulebook", {"model": str(tmp_path)}).engine == engine
    assert resolve("espl", "rulebook", {"model": "a/hub-id"}).engine == ("vllm" if installed and cuda else "hf")
    assert resolve("espl", "rulebook", {"model": str(tmp_path), "engine": "hf"}).engine == "hf", "what is said goes before"


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"engine": "hf", "gpu_memory_utilization": 0.5}, "gpu_memory_utilization is about vLLM; add engine vllm, or leave it out"),
        ({"engine": "hf", "sleep": True}, "sleep is about vLLM"),
        ({"engine": "hf", "deterministic": True}, "deterministic is about vLLM"),
        ({"engine": "hf", "tensor_parallel_size": 2}, "tensor_parallel_size is about vLLM; add engine vllm, or leave it out"),
        ({"engine": "hf", "data_parallel_size": 2}, "data_parallel_size is about vLLM"),
        ({"engine": "tinker", "pipeline_parallel_size": 2}, "pipeline_parallel_size is about vLLM"),
        ({"engine": "hf", "distributed_executor_backend": "ray"}, "distributed_executor_backend is about vLLM"),
        ({"engine": "vllm", "tensor_parallel_size": 0}, "tensor_parallel_size: Input should be greater than or equal to 1"),
        ({"engine": "vllm", "distributed_executor_backend": "slurm"}, "distributed_executor_backend: Input should be 'mp' or 'ray'"),
        ({"engine": "vllm", "sleep": True, "train_device": "cuda:1"}, "sleep shares one device, train_device takes another"),
        ({"engine": "hf", "train_device": "cuda:0,cuda:1"}, "train_device names several devices, and engine hf uses one"),
        ({"engine": "vllm", "train_device": "cpu,cpu", "train_quantization": "nf4"}, "train_quantization holds the base on one device"),
        ({"engine": "hf", "train_quantization": "int3"}, "train_quantization: Input should be 'nf4'"),
        ({"engine": "vllm", "gpu_memory_utilization": 1.5}, "gpu_memory_utilization: Input should be less than or equal to 1"),
        ({"correction_cap": 0.5}, "correction_cap: Input should be greater than or equal to 1"),
    ],
)
def test_options_of_devices_that_cannot_be_are_refused_in_one_line(choices: dict, words: str):
    with pytest.raises(UsageError) as refusal:
        resolve("espl", "rulebook", choices)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_an_endpoint_holds_its_weights_as_it_does():
    served = {"engine": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1", "train_quantization": "nf4"}
    with pytest.raises(UsageError, match="train_quantization is about weights on this machine, and engine openai has none"):
        resolve("base", "rulebook", served)


def test_sizes_reach_vllm_under_its_own_names():
    serving = Serving("m", 8, "bfloat16", on_cpu=False, shares_device=True, spread=Spread(4, 2, 1, "ray"))
    found = serving.arguments()
    assert (found["tensor_parallel_size"], found["pipeline_parallel_size"], found["data_parallel_size"]) == (4, 2, 1)
    assert found["distributed_executor_backend"] == "ray" and "data_parallel_backend" not in found
    assert Spread(data=2, executor="ray").arguments()["data_parallel_backend"] == "ray"
    assert Spread(tensor=2).arguments()["distributed_executor_backend"] == "mp", "said, or vLLM would take a sweep's placement group over"
    assert Spread().arguments() == {}


def test_more_devices_than_there_are_is_one_line_before_vllm_starts():
    Spread().require(0)
    Spread(tensor=2, pipeline=2).require(4)
    Spread(tensor=16, executor="ray").require(8)
    with pytest.raises(UsageError, match=r"--tensor-parallel-size 4 x --data-parallel-size 2 takes 8 devices, and this machine shows 4"):
        Spread(tensor=4, data=2).require(4)


def test_a_run_on_one_device_is_named_as_before_there_were_sizes():
    plain = resolve("espl", "rulebook", {"engine": "vllm", "model": "m"})
    assert not {name for name in first_form(plain) if "parallel" in name or "executor" in name}
    assert resolve("espl", "rulebook", {"engine": "vllm", "model": "m", "tensor_parallel_size": 1}) == plain
    spread = resolve("espl", "rulebook", {"engine": "vllm", "model": "m", "tensor_parallel_size": 2, "distributed_executor_backend": "mp"})
    assert run_id(spread) != run_id(plain)
    assert type(spread).model_validate_json(spread.model_dump_json()) == spread


def test_an_engine_that_is_not_installed_names_its_package(monkeypatch: pytest.MonkeyPatch):
    from espl_bench import build

    monkeypatch.setattr(build, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"engine vllm needs vLLM; install it with: pip install 'espl-bench\[vllm\]'"):
        build.open_engine(resolve("espl", "rulebook", {"engine": "vllm"}))
