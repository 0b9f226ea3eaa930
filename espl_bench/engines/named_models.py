"""Models that have a name of their own: those that a package ships, and those that can be got without a hub.

A row is registered under `espl_bench.models`. Wherever a model is named, the name stands for the row's folder.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from espl_bench.errors import UsageError
from espl_bench.registry import MODELS, find, names


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model and where it is on this machine."""

    name: str
    """As in `--model`; tables print it."""
    folder: Callable[[], Path]
    """Where it is, or would be."""
    licence: str
    get: Callable[[], Path] | None = None
    """Brings it here and returns its folder; None for one that is shipped."""


def place_of(model: str) -> str:
    """Return the folder of a named model, and anything else unchanged. Raises UsageError for a named model that is not here.

    A folder of that name in the current one goes before.
    """
    model = os.path.expanduser(model)
    if os.path.isdir(model) or model not in names(MODELS):
        return model
    folder = find_model(model).folder()
    if not folder.is_dir():
        raise UsageError(f"model '{model}' is not on this machine yet; get it with: {get_command(model)}")
    return str(folder)


def find_model(name: str) -> NamedModel:
    """Return the row of a named model. Raises UsageError with the nearest known name."""
    return find(MODELS, name)


def get_command(name: str) -> str:
    """Return the command that brings a named model."""
    return f"espl-bench model get {name}"
