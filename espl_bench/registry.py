"""Look up registered objects by name: environments, methods and everything that a method's row can name.

First-party rows register through the same entry points as third-party packages, in the groups below. For an unknown name the error
suggests the nearest one. A plug-in that fails to import produces a one-line error when it is used, and affects nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from espl_bench.errors import UsageError, unknown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True, slots=True)
class Seam:
    """One kind of object that a package can add."""

    noun: str
    """The kind's name in messages."""
    group: str
    """The entry-point group."""


ENVIRONMENTS = Seam("environment", "espl_bench.envs")
FAMILIES = Seam("family of environments", "espl_bench.env_families")
METHODS = Seam("method", "espl_bench.methods")
SELECTORS = Seam("selector", "espl_bench.selectors")
OPERATORS = Seam("operator", "espl_bench.operators")
ACCEPTANCES = Seam("acceptance", "espl_bench.acceptances")
SCHEDULES = Seam("schedule", "espl_bench.schedules")
LOSSES = Seam("loss", "espl_bench.losses")
BASELINES = Seam("baseline", "espl_bench.baselines")
NORMALISATIONS = Seam("normalisation", "espl_bench.normalisations")
CONTROLS = Seam("control", "espl_bench.controls")
DIALECTS = Seam("dialect", "espl_bench.dialects")
ENGINES = Seam("engine", "espl_bench.engines")
MODELS = Seam("model", "espl_bench.models")
OPTIMIZERS = Seam("optimizer", "espl_bench.optimizers")


@cache
def _points(seam: Seam) -> Mapping[str, "EntryPoint"]:
    from importlib.metadata import entry_points  # takes a third of the time that help takes

    return {point.name: point for point in entry_points(group=seam.group)}


def names(seam: Seam) -> list[str]:
    """Return the registered names, sorted; nothing is imported."""
    return sorted(_points(seam))


def require(seam: Seam, name: str) -> None:
    """Raise UsageError, with the nearest known name, unless the name is registered. Nothing is imported."""
    if name not in _points(seam):
        raise unknown(seam.noun, name, _points(seam))


@dataclass(frozen=True, slots=True)
class RegisteredCode:
    """The code behind a registered name."""

    module: str
    package: str
    """Name and version of the installed package."""


def code_of(seam: Seam, name: str) -> RegisteredCode:
    """Return the code behind a registered name; nothing is imported. Raises UsageError if there is none."""
    require(seam, name)
    point = _points(seam)[name]
    return RegisteredCode(point.module, f"{point.dist.name} {point.dist.version}" if point.dist else "")


@cache
def find(seam: Seam, name: str) -> Any:
    """Return the object registered under a name. Raises UsageError in one line if there is none, or if it cannot be imported."""
    require(seam, name)
    point = _points(seam)[name]
    try:
        return point.load()
    except Exception as error:  # third-party code runs here, and may raise anything
        fault = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{seam.noun} '{name}' cannot be loaded from {point.value}: {fault}; reinstall its package") from error
