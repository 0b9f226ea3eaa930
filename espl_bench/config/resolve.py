"""Resolve a configuration: defaults, the environment's, the preset's, then explicit choices."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from espl_bench.config.checks import check_correction, check_learning, check_method, check_names, check_sources
from espl_bench.config.flat import flat_name, former_names
from espl_bench.config.presets import find_preset
from espl_bench.config.run_config import RunConfig
from espl_bench.config.sections import METHOD_CHOICES
from espl_bench.engines.default_model import default_model
from espl_bench.engines.engine_spec import find_engine
from espl_bench.engines.model_source import fastest_engine
from espl_bench.engines.named_models import place_of
from espl_bench.environment.catalogue import find_environment
from espl_bench.environment.text_env import EnvironmentSpec
from espl_bench.errors import OptionError, UsageError
from espl_bench.method import Method, find_method
from espl_bench.utils import foreign_files
from espl_bench.utils.foreign_json import InvalidJsonError, parse_record
from espl_bench.utils.validation import first_fault

OPTIONS = "options"
"""Location of a fault in the choices of a caller or a command line."""


def resolve(method: str | Method, env: str | EnvironmentSpec, choices: Mapping[str, Any], preset: str | None = None) -> RunConfig:
    """Resolve a configuration: defaults, the environment's, the preset's, the method's, then `choices` (those that are not None).

    Method and environment are given by registered name or as objects. Choices are flat: fields of the sections by their flat
    names, and those fields of Method that an option may override. Raises UsageError in one line.
    """
    spec = find_environment(env, choices.get("env_options") or {}) if isinstance(env, str) else env
    row = find_method(method) if isinstance(method, str) else method
    given = _present({name: value for name, value in choices.items() if value is not None})
    chosen = frozenset(given)
    _require_decided(spec, chosen)
    own = {name: given.pop(name) for name in METHOD_CHOICES if name in given}
    values: dict[str, Any] = {"dialect": spec.dialect, **_present(spec.defaults)}
    if preset is not None:
        named = find_preset(preset)
        values |= {**named.config, **_present(spec.presets.get(preset, {}))}
        own = named.method_choices(row) | own
    row = row.varied(**own)
    if row.loss is not None:
        values["loss"] = row.loss
    if "env_options" in given:  # a preset's choices stay unless overridden
        given["env_options"] = {**values.get("env_options", {}), **given["env_options"]}
    values |= given
    values.setdefault("model", spec.model)
    if "engine" not in values:
        values["engine"] = fastest_engine(values["model"] and place_of(values["model"]))
    values["model"] = _model(values["model"], values["engine"], spec)
    if editor := values.get("editor_model"):
        values["editor_model"] = _model(editor, values.get("editor_engine") or values["engine"], spec)
    try:
        config = RunConfig.model_validate({**values, "method": row, "env": spec.name})
        check_names(config)
        check_method(config.method)
        check_learning(config)
        check_correction(config)
        check_sources(config, chosen)
    except OptionError as error:
        raise error.within(OPTIONS) from error
    except ValidationError as error:
        raise UsageError(f"{OPTIONS}: {_flat_fault(error)}") from error
    return config


def _require_decided(spec: EnvironmentSpec, chosen: Collection[str]) -> None:
    """Raise OptionError for the first option that the environment leaves to its user, and that is not given."""
    for name, told in spec.undecided.items():
        if name not in chosen:
            raise OptionError(
                f"{{{name}}} must be given for environment '{spec.name}', whose parts differ in it: {{told}}", {"told": told}
            ).within(OPTIONS)


def _model(named: str | None, engine: str, spec: EnvironmentSpec) -> str:
    """Return the model: the named one, or a default for this machine. Raises UsageError where none can be chosen."""
    if find_engine(engine).location != "local":
        if named is None:
            raise UsageError(f"environment '{spec.name}' ships no model; name with --model what the engine serves")
        return named
    return default_model().model if named is None else place_of(named)


def read_config(path: Path) -> RunConfig:
    """Read the configuration that a run was started with. Raises UsageError naming the file."""
    try:
        return parse_record(RunConfig, foreign_files.read_record(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); is this a run directory?") from error
    except OptionError as error:
        raise UsageError(f"{path} is not a configuration: {error}; restore it or start a new run") from error
    except ValidationError as error:
        raise UsageError(f"{path} is not a configuration: {first_fault(error)}; restore it or start a new run") from error
    except InvalidJsonError as error:
        raise UsageError(f"{path} is not a configuration: {error}; restore it or start a new run") from error


def _present(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Replace former names by present ones. Raises OptionError for a choice given under both."""
    former = former_names(RunConfig)
    if twice := next((name for name in choices if former.get(name) in choices), None):
        raise OptionError(f"{{{twice}}} is the former name of {{{former[twice]}}}; give one of them").within(OPTIONS)
    return {former.get(name, name): value for name, value in choices.items()}


def _flat_fault(error: ValidationError) -> str:
    """Return the first fault like `first_fault`, with the caller's flat name instead of the location in the sections."""
    first = error.errors()[0]
    return f"{flat_name(RunConfig, first['loc']) or 'file'}: {first['msg']}"
