"""Find environments and methods by name. First-party ones register through the same entry points as a stranger's package."""

import importlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from espl_bench.errors import UsageError, unknown

if TYPE_CHECKING:
    from espl_bench.environment.text_env import EnvironmentSpec, TextEnv
    from espl_bench.method import Method

ENV_GROUP = "espl_bench.envs"
METHOD_GROUP = "espl_bench.methods"


@cache
def _points(group: str) -> Mapping[str, Any]:
    return {point.name: point for point in entry_points(group=group)}


def names(group: str) -> list[str]:
    """Registered names, sorted; nothing is imported."""
    return sorted(_points(group))


def _load(group: str, kind: str, name: str) -> Any:
    points = _points(group)
    if name not in points:
        raise unknown(kind, name, points)
    try:
        return points[name].load()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{kind} '{name}' cannot be loaded from {points[name].value}: {error}; reinstall its package") from error


def find_method(name: str) -> "Method":
    """A method by name. Raises UsageError with the nearest known name."""
    return _load(METHOD_GROUP, "method", name)


def find_environment(name: str) -> "EnvironmentSpec":
    """An environment's spec by name. Raises UsageError with the nearest known name."""
    return _load(ENV_GROUP, "environment", name)


def make_environment(spec: "EnvironmentSpec", options: Mapping[str, Any]) -> "TextEnv":
    """An instance of the environment. Raises UsageError if it does not take the options."""
    module, _, attribute = spec.entry_point.partition(":")
    make = getattr(importlib.import_module(module), attribute)
    try:
        return make(**spec.arguments, **options)
    except TypeError as error:
        raise UsageError(f"environment '{spec.name}' does not take these options: {error}") from error
