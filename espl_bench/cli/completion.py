"""Values that a shell completes: registered names and fixed choices. Nothing is imported but the names."""

from collections.abc import Callable, Iterable

from espl_bench import registry
from espl_bench.cli.run_option import RunOption
from espl_bench.registry import Seam

Complete = Callable[[str], list[str]]
"""What begins with a text that was typed so far."""


def of_option(option: RunOption) -> Complete | None:
    """Return what completes the value of a run option; None if it has no names."""
    if option.seam:
        return of_seam(option.seam)
    return among(option.choices) if option.choices else None


def of_seam(seam: Seam) -> Complete:
    """Complete registered names."""

    def complete(incomplete: str) -> list[str]:
        return _beginning(incomplete, registry.names(seam))

    return complete


def among(choices: Iterable[str]) -> Complete:
    """Complete fixed choices."""

    def complete(incomplete: str) -> list[str]:
        return _beginning(incomplete, choices)

    return complete


def listed(seam: Seam, *more: str) -> Complete:
    """Complete the last of several names with commas between; those before it are not offered again."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        met = before.split(",")
        return [f"{before}{comma}{name}" for name in _beginning(last, [*registry.names(seam), *more]) if name not in met]

    return complete


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
