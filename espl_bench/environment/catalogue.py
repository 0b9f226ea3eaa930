"""Environments by name, and how one is made."""

import importlib
from collections.abc import Mapping
from typing import Any

from espl_bench.environment.family import BETWEEN, EnvironmentFamily
from espl_bench.environment.text_env import EnvironmentSpec, TextEnv, Wording
from espl_bench.errors import EsplError, UsageError, first_line, unknown
from espl_bench.registry import ENVIRONMENTS, FAMILIES, RegisteredCode, code_of, find, names, require


def find_environment(name: str) -> EnvironmentSpec:
    """Return an environment's spec, that of a family's member too. Raises UsageError with the nearest known name."""
    require_environment(name)
    family, between, member = name.partition(BETWEEN)
    return find_family(family).member(member) if between else find(ENVIRONMENTS, name)


def require_environment(name: str) -> None:
    """Raise UsageError, with the nearest known name, unless an environment, or a member's family, is registered. Nothing is imported."""
    family, between, _ = name.partition(BETWEEN)
    if between:
        require(FAMILIES, family)
    elif name in names(FAMILIES):
        raise UsageError(f"'{name}' is a family of environments; name one as {name}{BETWEEN}NAME; `espl-bench envs --json` lists them")
    elif name not in names(ENVIRONMENTS):
        raise unknown("environment", name, [*names(ENVIRONMENTS), *names(FAMILIES)])


def find_family(name: str) -> EnvironmentFamily:
    """Return a family of environments. Raises UsageError with the nearest known name."""
    return find(FAMILIES, name)


def code_behind(name: str) -> RegisteredCode | None:
    """Return the code behind an environment's name; None if nothing is registered under it. Nothing is imported."""
    family, between, _ = name.partition(BETWEEN)
    seam, registered = (FAMILIES, family) if between else (ENVIRONMENTS, name)
    return code_of(seam, registered) if registered in names(seam) else None


def wording_of(name: str) -> Wording:
    """Return an environment's own words; the usual ones for an environment that is not installed, e.g. one given from Python."""
    return find_environment(name).wording if code_behind(name) is not None else Wording()


def make_environment(spec: EnvironmentSpec, options: Mapping[str, Any]) -> TextEnv:
    """Make an instance of the environment. Raises UsageError in one line if it cannot be made, or does not take the options."""
    module, _, attribute = spec.entry_point.partition(":")
    try:
        make = getattr(importlib.import_module(module), attribute)
        env = make(**spec.arguments, **options)  # an option that the spec fixes is a TypeError
    except EsplError:
        raise
    except TypeError as error:
        raise UsageError(f"environment '{spec.name}' does not take these options: {first_line(error)}") from error
    except Exception as error:  # its package's code runs here, and may raise anything
        fault = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"environment '{spec.name}' cannot be made by {spec.entry_point} ({fault}); check --env-option") from error
    if not isinstance(env, TextEnv):
        raise UsageError(f"{spec.entry_point} of environment '{spec.name}' makes a {type(env).__name__}; let it make a TextEnv")
    return env
