"""The flat form that configurations had in version 1. Run ids, published results and trackers keep it."""

from dataclasses import MISSING, fields
from typing import Any

from espl_bench.config.flat import flat_fields
from espl_bench.config.run_config import RunConfig
from espl_bench.method import Method

_METHOD = (
    *("name", "summary", "learns_weights", "operators", "population_size"),
    *("selector", "crossover_prob", "baseline", "editor", "shown"),
)
_FIELDS = (
    *("method", "env", "env_options", "model", "engine", "base_url", "api_key_env", "concurrency", "request_timeout", "request_tries"),
    *("steps", "seed", "control", "num_prompts", "batch_size", "group_size"),
    *("temperature", "top_p", "max_tokens", "max_episode_tokens", "sampling_groups", "tool_format"),
    *("lr", "loss", "clip_low", "clip_high", "grad_clip", "lora_rank", "lora_alpha", "token_budget", "gradient_checkpointing"),
    *("correction", "correction_cap", "mask_truncated", "train_device", "gpu_memory_utilization", "sleep", "deterministic"),
    *("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "distributed_executor_backend"),
    *("stuck_after", "dialect", "placement", "root_principles"),
    *("editor_model", "editor_engine", "editor_base_url", "editor_api_key_env", "editor_temperature", "editor_max_tokens"),
    *("max_edits", "max_principle_words", "prompt_form", "max_prompt_words", "sigma_growth", "tie"),
    *("eval_every", "test_every", "eval_samples", "checkpoint_every"),
)
_IF_CHOSEN = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "distributed_executor_backend")
"""Fields that version 1 wrote only where they differ from their defaults."""
_INSTEAD_OF_NONE = {"token_budget": 4_096}
"""The default of version 1 where a number may now be worked out."""


def first_form(config: RunConfig) -> dict[str, Any]:
    """Return the choices as version 1 wrote them: its names, its order, and later fields only where they differ from their defaults.

    A run's id hashes these bytes, and a study compares them between its results: the same choices must give the same bytes in
    every version, whatever sections and fields later ones have.
    """
    known = flat_fields(RunConfig)
    values = config.flat() | {"method": _method(config.method)}
    later = [name for name in known if name not in _FIELDS]
    written: dict[str, Any] = {}
    for name in (*_FIELDS, *later):
        info = known[name].info
        optional = name in _IF_CHOSEN or name in later
        if not optional or values[name] != info.get_default(call_default_factory=True):
            value = values[name]
            written[known[name].flag.formerly or name] = _INSTEAD_OF_NONE.get(name) if value is None else value
    return written


def _method(method: Method) -> dict[str, Any]:
    defaults = {field.name: field.default if field.default is not MISSING else None for field in fields(method)}
    later = [name for name in defaults if name not in _METHOD and getattr(method, name) != defaults[name]]
    return {name: getattr(method, name) for name in (*_METHOD, *later)}
