"""Environments by name, and how one is made."""

import importlib
from collections.abc import Mapping
from typing import Any

from espl_bench.environment.text_env import EnvironmentSpec, TextEnv, Wording
from espl_bench.errors import EsplError, UsageError, first_line
from espl_bench.registry import ENVIRONMENTS, find, names


def find_environment(name: str, options: Mapping[str, Any] | None = None) -> EnvironmentSpec:
    """Return an environment's spec. Raises UsageError with the nearest known name, or for options that no spec describes.

    Args:
        name: registered name.
        options: the environment's; None: they are not known, and what depends on them is left open.
    """
    spec = find(ENVIRONMENTS, name)
    if options is None or spec.described_by is None:
        return spec
    module, _, attribute = spec.described_by.partition(":")
    return getattr(importlib.import_module(module), attribute)(options)


def wording_of(name: str, options: Mapping[str, Any]) -> Wording:
    """Return an environment's own words; the usual ones for an environment that is not installed, e.g. one given from Python."""
    return find_environment(name, options).wording if name in names(ENVIRONMENTS) else Wording()


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
