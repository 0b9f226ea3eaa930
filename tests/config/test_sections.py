"""Sections, their flat form, and files of the first version, which were flat."""

import json
import pickle
from pathlib import Path

import pytest
from pydantic_core import to_json

from espl_bench.config.flat import flat_fields
from espl_bench.config.resolve import read_config, resolve
from espl_bench.config.run_config import SCHEMA, RunConfig
from espl_bench.config.sections import Section, VllmSection
from espl_bench.config.version_1 import first_form
from espl_bench.errors import OptionError, UsageError
from espl_bench.method import ESPL
from espl_bench.runs.claims import run_id
from espl_bench.sweep.grid import AXES

FIRST = (
    '{"method":{"name":"espl","summary":"weights learn by RL while a rated population of system prompts evolves by mutation and crossover",'
    '"learns_weights":true,"operators":["mutation","crossover"],"population_size":10,"selector":"top_plus_random","crossover_prob":0.2,'
    '"baseline":"per_prompt","editor":"reference","shown":"best"},"env":"rulebook","env_options":{"world":7},"model":"lab",'
    '"engine":"openai","base_url":"http://127.0.0.1:8000/v1","api_key_env":null,"concurrency":3,"request_timeout":600.0,"request_tries":8,'
    '"steps":20,"seed":2,"control":"random-reward","num_prompts":3,"batch_size":10,"group_size":5,"temperature":0.7,"top_p":1.0,'
    '"max_tokens":1024,"max_episode_tokens":null,"cohorts":4,"tool_format":"text","lr":0.00001,"loss":"importance_sampling",'
    '"clip_low":null,"clip_high":null,"grad_clip":1.0,"lora_rank":32,"lora_alpha":32.0,"token_budget":4096,'
    '"gradient_checkpointing":false,"correction":"token","correction_cap":2.0,"mask_truncated":false,"train_device":null,'
    '"gpu_memory_utilization":null,"sleep":false,"deterministic":false,"stuck_after":600.0,"dialect":"compact","placement":"system",'
    '"root_principles":["naïve √2"],"editor_model":null,"editor_engine":null,"editor_base_url":null,"editor_api_key_env":null,'
    '"editor_temperature":0.3,"editor_max_tokens":1024,"max_edits":2,"max_principle_words":32,"prompt_form":"principles",'
    '"max_prompt_words":null,"sigma_growth":1.0,"tie":0.01,"eval_every":10,"test_every":0,"eval_samples":4,"checkpoint_every":10}'
)
"""As the first version wrote it and hashed it."""


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    return tmp_path / "config.json"


def test_a_flat_file_of_the_first_version_is_read_and_keeps_its_id(tmp_path: Path):
    config = read_config(written(tmp_path, FIRST))
    assert (config.sampling.sampling_groups, config.endpoint.concurrency, config.editor.temperature) == (4, 3, 0.3)
    assert config.evolution.root_principles == ("naïve √2",) and config.optimisation.lr == 1e-5
    assert to_json(first_form(config)).decode() == FIRST
    assert run_id(config) == "rulebook-espl-s2-816cac71"
    again = read_config(written(tmp_path, config.model_dump_json()))
    assert again == config and run_id(again) == run_id(config)


def test_ids_are_those_of_the_first_version():
    named = {"method": ESPL, "env": "rulebook", "model": "lab"}
    assert run_id(RunConfig.model_validate(named | {"concurrency": 3})) == "rulebook-espl-s0-2627467c", "it was written with engine hf, too"
    assert run_id(RunConfig.model_validate(named | {"concurrency": 3, "token_budget": 4_096})) == "rulebook-espl-s0-2627467c", (
        "the default then"
    )
    spread = {"engine": "vllm", "vllm": {"tensor_parallel_size": 2, "sleep": True}}
    assert run_id(RunConfig.model_validate(named | spread)) == "rulebook-espl-s0-3a37fc89"


def test_a_file_says_its_schema_and_holds_only_sections_that_an_engine_reads():
    def sections(**choices: object) -> dict:
        record = json.loads(resolve("evolution_only", "rulebook", {"model": "m", **choices}).model_dump_json())
        assert next(iter(record.items())) == ("schema", SCHEMA)
        return record

    assert not {"vllm", "endpoint"} & set(sections(engine="hf"))
    assert sections(engine="vllm")["vllm"]["sleep"] is False
    assert sections(engine="openai", base_url="http://x/v1")["endpoint"]["base_url"] == "http://x/v1"
    editor = sections(engine="hf", editor_model="z", editor_engine="openai", editor_base_url="http://x/v1", concurrency=2)
    assert editor["endpoint"]["concurrency"] == 2 and "vllm" not in editor


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "espl-bench/config/9"}, "schema 'espl-bench/config/9' is not espl-bench/config/2"),
        ({"lr": 0.1}, "lr: Extra inputs are not permitted"),
        ({"sampling": {"temprature": 1.0}}, "sampling.temprature: Extra inputs"),
        ({"vllm": {"sleep": True}}, "sleep is about vLLM"),
        ({"endpoint": {"base_url": "http://x"}}, "base_url is for an endpoint"),
    ],
)
def test_what_a_file_cannot_hold_is_named(change: dict, words: str, tmp_path: Path):
    record = json.loads(resolve("espl", "rulebook", {"engine": "hf"}).model_dump_json()) | change
    path = written(tmp_path, json.dumps(record))
    with pytest.raises(UsageError) as refusal:
        read_config(path)
    assert str(path) in str(refusal.value) and words in str(refusal.value) and "\n" not in str(refusal.value)


def test_flat_names_are_those_of_the_flags_and_lead_back():
    config = resolve("espl", "rulebook", {"editor_temperature": 0.4, "cohorts": 3, "tie": 0.0})
    flat = config.flat()
    assert set(flat) == set(flat_fields(RunConfig)) and len(flat) == 74
    assert (flat["editor_temperature"], flat["sampling_groups"], flat["tie"]) == (0.4, 3, 0.0)
    assert RunConfig.model_validate(flat) == config
    assert config.varied(tie=0.5, steps=1).flat() == flat | {"tie": 0.5, "steps": 1}


def test_a_choice_has_one_name():
    with pytest.raises(UsageError, match="cohorts is the former name of sampling_groups; give one of them"):
        resolve("espl", "rulebook", {"cohorts": 3, "sampling_groups": 3})


def test_every_field_of_a_section_is_described():
    for name, each in flat_fields(RunConfig).items():
        assert each.info.description or name in ("method", "env", "seed"), name
    assert {"method", "env", "env_options", "model", "seed"} == AXES
    assert issubclass(VllmSection, Section) and all(info.description for info in VllmSection.model_fields.values())


def test_an_error_names_fields_and_can_be_spelled_otherwise():
    error = OptionError("{sleep} is no {kind}", {"kind": "{brace}"}).within("a {place}")
    assert str(error) == "a {place}: sleep is no {brace}"
    assert error.spelled(lambda field: f"--{field}") == "a {place}: --sleep is no {brace}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
