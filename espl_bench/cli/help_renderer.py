"""Help as Typer renders it, without the two parts of rich that its renderer imports and this program's help never uses.

Markdown and tracebacks are a third of the time that `espl-bench --help` takes. While the renderer is imported, modules whose classes
cannot be used stand in for them; whoever imports the real ones afterwards gets them.
"""

import importlib
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from typer.core import TyperCommand, TyperGroup

UNUSED: Mapping[str, str] = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}
"""Class that Typer's renderer takes from a module, by module."""


class Command(TyperCommand):
    """Command whose help is rendered without what it does not use."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Format the help."""
        import_renderer()
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """Group whose help is rendered without what it does not use."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Format the help."""
        import_renderer()
        super().format_help(ctx, formatter)


def import_renderer() -> None:
    """Import Typer's renderer."""
    with _stand_ins():
        importlib.import_module("typer.rich_utils")  # where Typer's own import finds it


@contextmanager
def _stand_ins() -> Generator[None]:
    """Let stand-ins be imported in place of modules that nobody has imported yet."""
    missing = [name for name in UNUSED if name not in sys.modules]
    for name in missing:
        module = ModuleType(name)
        setattr(module, UNUSED[name], type(UNUSED[name], (), {"__init__": _refuse}))
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


def _refuse(*_: object, **__: object) -> None:
    raise NotImplementedError("the help of this program is no Markdown")
