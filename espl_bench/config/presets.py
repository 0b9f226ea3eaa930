"""Named hyper-parameters: those the paper states, and those of its reference code. Applied over an environment's defaults, under options.

A preset is not recorded: the resolved configuration is what counts. It sets fields of `RunConfig`, and choices of `Method` where they mean
something: a baseline only where weights learn, selection only where there is more than one prompt to select from. So it never turns one
method into another. What a preset cannot express is listed in its `deviations`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from espl_bench.errors import unknown
from espl_bench.evolution.schedule import TOGETHER
from espl_bench.method import Method


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of values."""

    name: str
    summary: str
    config: Mapping[str, Any]
    """Values of RunConfig fields, by flat name."""
    training: Mapping[str, Any]
    """Choices for a Method whose weights learn."""
    selecting: Mapping[str, Any]
    """Choices for a Method that breeds prompts and keeps more than one."""
    deviations: tuple[str, ...]
    """Differences between its origin and this project, by necessity or on purpose, one line each."""

    def method_choices(self, method: Method) -> dict[str, Any]:
        """Return the choices that apply to a method: none to a staged one, which is more than a half or both of E-SPL."""
        if method.schedule != TOGETHER:
            return {}
        selects = bool(method.operators) and method.population_size > 1
        return {**(self.training if method.learns_weights else {}), **(self.selecting if selects else {})}


_SHARED: Final = {
    "num_prompts": 3,
    "batch_size": 10,
    "group_size": 5,
    "top_p": 0.95,
    "max_tokens": 15_000,
    "editor_max_tokens": 15_000,
    "lr": 4e-5,
    "loss": "importance_sampling",
    "correction": "none",
    "lora_rank": 32,
    "editor_top_p": 0.95,
    "max_edits": 2,
    "max_principle_words": 32,
    "sigma_growth": 1.0,
    "tie": 0.01,
    "eval_samples": 10,
}
"""Values on which both agree."""

_EPOCHS: Final = (
    "10 epochs over at most 256 training problems: steps count iterations, so that environments of the paper's pairs set them, and "
    "elsewhere --steps is 10 x (training problems / 10)"
)

_OUTPUT_LAYER: Final = "the LoRA adapter of its code is also on the output layer: here on every linear layer but that one"
_TEMPERATURE: Final = (
    "the loss of its code has log-probabilities of temperature 1 on both sides, whatever rollouts are drawn at: here logits are divided "
    "by the sampling temperature on both sides, except with engine tinker, which does as its code"
)

PAPER: Final = Preset(
    name="paper",
    summary="the hyper-parameters that the paper states",
    config={
        **_SHARED,
        "temperature": 0.7,
        "editor_temperature": 0.7,
        "steps": 100,
        "placement": "system",
        "word_limit": "aggregation",
    },
    training={"baseline": "per_prompt"},
    selecting={"selector": "top_plus_random", "population_size": 10, "crossover_prob": 0.2, "editor": "reference"},
    deviations=(
        _EPOCHS,
        "temperature 0.6 to 0.7, by experiment: 0.7 is set",
        "which prompt is shown in evaluations is not stated: this project's own choice stays",
        "the softmax of the selection formula has no stated temperature; the selection that was run is set",
        "no validation split: environments of the paper's pairs then hold nothing out, and have none",
        "a bound on the norm of the gradient is not stated: this project's own of 1.0 stays; its code has none",
        _OUTPUT_LAYER,
        _TEMPERATURE,
    ),
)

REFERENCE_CODE: Final = Preset(
    name="reference-code",
    summary="the defaults of the paper's reference implementation",
    config={
        **_SHARED,
        "temperature": 0.7,
        "editor_temperature": 0.7,
        "steps": 100,
        "placement": "user",
        "grad_clip": 0.0,
        "word_limit": "nowhere",
        "reflect_on": "slot",
        "summary_shows": "verdict",
        "aggregation": "always",
        "unreadable_aggregation": "keep_additions",
        "unchanged_child": "admit",
        "test_every": 1,
        "eval_every": 0,
    },
    training={"baseline": "per_prompt"},
    selecting={"selector": "uniform", "population_size": 5, "crossover_prob": 0.0, "editor": "reference", "shown": "newest"},
    deviations=(
        _EPOCHS,
        "a method without principles is trained on the bare problem and tested under a template that says None: here both are one text",
        "the checkpoint with the best test score is kept and resumed from: here no test score steers anything",
        "the last batch of an epoch may be smaller: here an epoch's rest is left out",
        "a window of 5 prompts slides over a population of 100: here the population is the window, which selects alike",
        "a prompt that fills two places of a step is ranked and crossed by the better one: here by all its rollouts",
        "its uniform selection gives a single place to the newest prompt: here to any of the window",
        _OUTPUT_LAYER,
        _TEMPERATURE,
        "a problem is won by a lead of 0.01 and more: here by any lead",
        "of two children of one step the mutated one is the newest: here the crossed one is",
        "its softmax divides by the highest score, and a short window is filled up with its newest prompt: selection.py differs",
        "its grader accepts answers outside a box: here the answer must be in one, unless --env-option extraction=anywhere",
        "the wording: dialects are this project's own",
        "the shuffle of problems is unseeded there",
    ),
)

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({preset.name: preset for preset in (PAPER, REFERENCE_CODE)})


def find_preset(name: str) -> Preset:
    """Return a preset by name. Raises UsageError with the nearest known name."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
