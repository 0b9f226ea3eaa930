"""Environments by name, and how one is made."""

import importlib
from collections.abc import Mapping
from typing import Any

from espl_bench.environment.text_env import EnvironmentSpec, TextEnv
from espl_bench.errors import UsageError
from espl_bench.registry import ENVIRONMENTS, find


def find_environment(name: str) -> EnvironmentSpec:
    """Return an environment's spec. Raises UsageError with the nearest known name."""
    return find(ENVIRONMENTS, name)


def make_environment(spec: EnvironmentSpec, options: Mapping[str, Any]) -> TextEnv:
    """Make an instance of the environment. Raises UsageError if it does not take the options."""
    module, _, attribute = spec.entry_point.partition(":")
    make = getattr(importlib.import_module(module), attribute)
    try:
        return make(**spec.arguments, **options)
    except TypeError as error:
        raise UsageError(f"environment '{spec.name}' does not take these options: {error}") from error
