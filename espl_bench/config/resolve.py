"""Resolve a configuration: defaults, the environment's, the preset's, then what was chosen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from espl_bench.config.checks import check_sources
from espl_bench.config.presets import find_preset
from espl_bench.config.run_config import RunConfig
from espl_bench.controls import Control
from espl_bench.engines.source import fastest_engine
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import UsageError
from espl_bench.method import Method
from espl_bench.registry import find_environment, find_method
from espl_bench.utils.validation import first_fault

METHOD_CHOICES = ("selector", "crossover_prob", "baseline", "editor", "shown", "population_size")
"""Fields of Method that an option may override."""


def resolve(method: str | Method, env: str | EnvironmentSpec, choices: Mapping[str, Any], preset: str | None = None) -> RunConfig:
    """Defaults, then the environment's, then the preset's, then `choices` (those that are not None). Raises UsageError in one line.

    Method and environment are named as they are registered, or given themselves.
    """
    spec = find_environment(env) if isinstance(env, str) else env
    row = find_method(method) if isinstance(method, str) else method
    given = {name: value for name, value in choices.items() if value is not None}
    chosen = frozenset(given)
    own = {name: given.pop(name) for name in METHOD_CHOICES if name in given}
    values: dict[str, Any] = {"dialect": spec.dialect, **spec.defaults}
    if preset is not None:
        named = find_preset(preset)
        values |= {**named.config, **spec.presets.get(preset, {})}
        own = named.method_choices(row) | own
    row = row.varied(**own)
    if "env_options" in given:  # of a preset's, those that were not given stay
        given["env_options"] = {**values.get("env_options", {}), **given["env_options"]}
    values |= given
    values.setdefault("model", spec.model)
    values.setdefault("engine", fastest_engine())
    if values["model"] is None:
        raise UsageError(f"environment '{spec.name}' ships no model; name one with --model (a folder or a hub id)")
    config = _validated({**values, "method": row, "env": spec.name}, source="options")
    if config.method.learns_weights and config.temperature == 0:
        raise UsageError("options: weights cannot learn from greedy rollouts; set --temperature above 0, e.g. 1.0")
    if config.clip_low is not None and config.clip_high is not None and config.clip_low > config.clip_high:
        raise UsageError(f"options: clip_low {config.clip_low} is above clip_high {config.clip_high}; swap them")
    if config.method.is_static and config.control in (Control.RANDOM_REWARD, Control.SHUFFLED_ANSWERS):
        raise UsageError(f"options: {config.method.name} learns from no reward, so --control {config.control} has no use; leave it out")
    check_sources(config, chosen)
    return config


def read_config(path: Path) -> RunConfig:
    """The configuration a run was started with. Raises UsageError naming the file."""
    try:
        return RunConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); is this a run directory?") from error
    except ValidationError as error:
        raise UsageError(f"{path} is not a configuration: {first_fault(error)}; restore it or start a new run") from error


def _validated(values: Mapping[str, Any], source: str) -> RunConfig:
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{source}: {first_fault(error)}") from error
