"""What a configuration is: which options can change a result, and how two configurations are compared."""

import json
from typing import Any

import pytest
from pydantic_core import to_jsonable_python

from espl_bench.config.choices import affects, changes, choices_in, choices_of, completed, default_choices, telling_apart, unlike, written
from espl_bench.config.flag import Affects
from espl_bench.config.flat import flat_fields
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.config.version_1 import first_form
from espl_bench.errors import UsageError


def chosen(method: str = "espl", **choices: Any) -> dict[str, Any]:
    return choices_of(resolve(method, "rulebook", {"engine": "hf", **choices}))


@pytest.mark.parametrize(
    ("method", "option", "counts"),
    [
        ("espl", {"lr": 1e-5}, True),
        ("rl_only", {"lr": 1e-5}, True),
        ("evolution_only", {"lr": 1e-5}, False),
        ("base", {"lr": 1e-5}, False),
        ("base", {"steps": 7}, False),
        ("base", {"temperature": 0.5}, True),
        ("rl_only", {"max_edits": 1}, False),
        ("evolution_only", {"max_edits": 1}, True),
        ("rl_only", {"selector": "ucb"}, False),
        ("espl", {"selector": "ucb"}, True),
        ("espl", {"root_principles": ("dax larger",)}, True),
        ("base", {"root_principles": ("dax larger",)}, True),
        ("base", {"train_quantization": "nf4"}, True),
        ("espl", {"seed": 4}, False),
        ("espl", {"label": "warm"}, False),
        ("espl", {"checkpoint_every": 3, "eval_every": 2, "eval_samples": 1, "stuck_after": 3.0, "token_budget": 512}, False),
    ],
)
def test_an_option_is_a_choice_if_it_can_change_what_the_method_does(method: str, option: dict[str, Any], counts: bool):
    assert (chosen(method, **option) != chosen(method)) is counts


def test_every_option_says_what_it_changes_and_those_that_say_nothing_count():
    idle = {name for name in flat_fields(RunConfig) if affects(name) is Affects.NOTHING}
    assert {"concurrency", "request_timeout", "request_tries", "api_key_env", "base_url", "sleep", "train_device", "label"} <= idle
    assert not {"lr", "steps", "temperature", "top_p", "max_tokens", "dialect", "placement", "engine", "editor_model", "loss"} & idle
    assert affects("of_a_later_version") is Affects.RESULT


@pytest.mark.parametrize("method", ["base", "rl_only", "evolution_only", "espl"])
def test_stored_configurations_of_either_version_have_the_choices_of_the_run(method: str):
    config = resolve(method, "rulebook", {"engine": "hf", "steps": 3, "temperature": 0.7})
    for record in (json.loads(config.model_dump_json()), to_jsonable_python(first_form(config))):
        assert choices_in(record) == choices_of(config)
    assert choices_in({"method": "?"}) is None


def test_an_option_that_is_newer_than_a_run_had_its_default():
    now = chosen()
    old = {name: value for name, value in now.items() if name not in ("mask_truncated", "correction")}
    assert completed(old) == now
    assert completed({**chosen("base"), "cohorts": 3}).keys() >= chosen("base").keys()
    assert "mask_truncated" not in completed(chosen("base"))


def test_defaults_are_those_of_the_environment_and_of_a_preset():
    assert default_choices("espl", "rulebook") == chosen()
    assert default_choices("espl", "rulebook", "paper") == choices_of(resolve("espl", "rulebook", {"engine": "hf"}, "paper"))
    assert default_choices("espl", "nowhere")["steps"] == 100


def test_differences_are_listed_by_name_and_value():
    assert changes(chosen(), chosen(lr=1e-5, steps=200)) == ["steps 60 -> 200", "lr 0.001 -> 1e-05"]
    a, b = (resolve("espl", "rulebook", {"seed": seed, "concurrency": None}) for seed in (0, 1))
    assert unlike(a, b) == []
    assert unlike(a, resolve("base", "rulebook", {}))[0] == "method espl -> base"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "1e-05"), (0.001, "0.001"), (0.12345678, "0.12345678"), (True, "on"), (None, "none"), (200, "200"), ([], "none")],
)
def test_values_are_written_short(value: object, text: str):
    assert written(value) == text


def test_long_values_stay_distinct():
    long = [written(["a" * 40 + end]) for end in "bc"]
    assert long[0] != long[1] and max(map(len, long)) <= 24


def test_a_label_names_few_options_if_they_suffice():
    several = [{"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 2, "b": 2, "c": 2, "d": 2}]
    assert telling_apart(several, ("a", "b"), 3) == ("a", "b")
    assert telling_apart(several, ("a", "b", "c", "d"), 3) == ("a",)


@pytest.mark.parametrize("label", ["a/b", "", " x", "x" * 41, "a\nb", "a, b"])
def test_a_label_is_a_short_name(label: str):
    with pytest.raises(UsageError, match="label takes up to 40 letters"):
        resolve("espl", "rulebook", {"label": label})


def test_a_label_names_row_and_folder():
    config = resolve("espl", "rulebook", {"label": "warm up", "control": "random-reward", "seed": 3})
    assert (config.row, config.folder_name) == ("espl (random-reward) · warm up", "espl-warm-up-s3")
