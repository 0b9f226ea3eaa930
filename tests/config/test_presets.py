"""Presets: the paper's numbers, written out here a second time, and where they apply."""

import pytest

from espl_bench.cli.app import invoke
from espl_bench.config.flat import flat_fields
from espl_bench.config.presets import PRESETS
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.config.sections import METHOD_CHOICES
from espl_bench.environment.catalogue import find_environment
from espl_bench.errors import UsageError
from espl_bench.evolution.operators.proposal import ReflectionRules

SHARED = {
    **{"num_prompts": 3, "batch_size": 10, "group_size": 5, "lora_rank": 32, "lr": 4e-5, "top_p": 0.95, "max_tokens": 15_000},
    **{"max_edits": 2, "max_principle_words": 32, "sigma_growth": 1.0, "eval_samples": 10, "temperature": 0.7},
    **{"editor_temperature": 0.7, "editor_top_p": 0.95, "loss": "importance_sampling", "correction": "none"},
}

UNSAID = {
    "paper": (
        "10 epochs over at most 256 training problems",
        "temperature 0.6 to 0.7",
        "which prompt is shown in evaluations is not stated",
        "the softmax of the selection formula has no stated temperature",
        "no validation split",
        "a bound on the norm of the gradient is not stated",
        "the LoRA adapter of its code is also on the output layer",
        "the loss of its code has log-probabilities of temperature 1",
    ),
    "reference-code": (
        "10 epochs over at most 256 training problems",
        "a method without principles is trained on the bare problem",
        "the checkpoint with the best test score is kept",
        "the last batch of an epoch may be smaller",
        "a window of 5 prompts slides over a population of 100",
        "a prompt that fills two places of a step is ranked and crossed by the better one",
        "its uniform selection gives a single place to the newest prompt",
        "the LoRA adapter of its code is also on the output layer",
        "the loss of its code has log-probabilities of temperature 1",
        "a problem is won by a lead of 0.01 and more",
        "of two children of one step the mutated one is the newest",
        "its softmax divides by the highest score",
        "its grader accepts answers outside a box",
        "the wording",
        "the shuffle of problems is unseeded",
    ),
}
"""What each preset's origin does and a run here does not, as it says of itself: how each line begins."""


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_fields_that_exist_and_values_that_they_take(name: str):
    preset = PRESETS[name]
    assert set(preset.config) <= set(flat_fields(RunConfig))
    assert {*preset.training, *preset.selecting} <= set(METHOD_CHOICES)
    assert [line[: len(start)] for line, start in zip(preset.deviations, UNSAID[name], strict=True)] == list(UNSAID[name])
    assert not any("\n" in line for line in preset.deviations)
    config = resolve("espl", "rulebook", {}, name)
    assert {field: config.flat()[field] for field in preset.config} == preset.config
    chosen = {**preset.training, **preset.selecting}
    assert {field: getattr(config.method, field) for field in chosen} == chosen
    assert {field: config.flat()[field] for field in SHARED} == SHARED


def test_the_paper_and_its_code_differ_where_they_differ():
    paper, code = (resolve("espl", "rulebook", {}, name) for name in ("paper", "reference-code"))
    assert (paper.method.selector, paper.method.population_size, paper.method.crossover_prob) == ("top_plus_random", 10, 0.2)
    assert (code.method.selector, code.method.population_size, code.method.crossover_prob) == ("uniform", 5, 0.0)
    assert (paper.prompts.placement, code.prompts.placement, code.method.shown, code.evaluation.test_every) == (
        "system",
        "user",
        "newest",
        1,
    )


def test_the_code_reflects_as_its_code_does_and_the_paper_as_it_says():
    paper, code = (resolve("espl", "rulebook", {}, name) for name in ("paper", "reference-code"))
    assert code.limits.rules == ReflectionRules("always", "keep_additions", "admit", "nowhere", "slot", "verdict")
    assert paper.limits.rules == ReflectionRules() == resolve("espl", "rulebook", {}).limits.rules
    assert (paper.optimisation.grad_clip, code.optimisation.grad_clip) == (1.0, 0.0)


def test_presets_stand_between_the_environment_and_the_options():
    own = find_environment("rulebook").defaults
    assert resolve("espl", "rulebook", {}).sampling.max_tokens == own["max_tokens"]
    assert resolve("espl", "rulebook", {}, "paper").sampling.max_tokens == 15_000
    config = resolve("espl", "rulebook", {"max_tokens": 7, "selector": "ucb", "lr": None}, "paper")
    assert (config.sampling.max_tokens, config.method.selector, config.optimisation.lr) == (7, "ucb", 4e-5)
    assert config.prompts.dialect == "compact", "the wording stays the environment's"


def test_a_preset_turns_no_method_into_another():
    for name in PRESETS:
        reflection = resolve("reflection_only", "rulebook", {}, name).method
        assert reflection == resolve("reflection_only", "rulebook", {}).method, "one prompt, nothing to select"
        assert resolve("base", "rulebook", {}, name).method == resolve("base", "rulebook", {}).method
        assert resolve("rl_only", "rulebook", {}, name).method.baseline == "per_prompt"
        assert resolve("evolution_only", "rulebook", {}, name).method.baseline == resolve("evolution_only", "rulebook", {}).method.baseline


def test_a_preset_that_is_nearly_right_is_named(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(UsageError, match="unknown preset 'papr'; did you mean 'paper'"):
        resolve("espl", "rulebook", {}, "papr")
    assert invoke(["run", "--preset", "reference", "--dry-run"]) == 2
    assert "did you mean 'reference-code'?" in capsys.readouterr().err
