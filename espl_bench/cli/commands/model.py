"""`model status` and `model get`: the models that have a name of their own."""

import json
from contextlib import nullcontext

from espl_bench.cli.console import err_console, out_console, plain_table, write_json
from espl_bench.engines.named_models import NamedModel, find_model, get_command
from espl_bench.errors import EsplError
from espl_bench.registry import MODELS, names
from espl_bench.utils.formatting import plain


def show_status(as_json: bool) -> None:
    """Print every named model."""
    models = [row for name in names(MODELS) if (row := _row(name)) is not None]
    if as_json:
        records = [{"name": row.name, "here": row.folder().is_dir(), "folder": str(row.folder()), "licence": row.licence} for row in models]
        write_json(json.dumps({"models": records}, indent=2) + "\n")
        return
    table = plain_table("model", "licence", "folder")
    for row in models:
        here = row.folder().is_dir()
        cells = (row.name, row.licence, str(row.folder()) if here else f"not here; get it with: {get_command(row.name)}")
        table.add_row(*(plain(cell, "" if here else "yellow") for cell in cells))
    out_console().print(table)


def _row(name: str) -> NamedModel | None:
    """Return a row; None for one whose package is broken, which is reported where it is named."""
    try:
        return find_model(name)
    except EsplError:
        return None


def get(name: str) -> None:
    """Bring a model to this machine. Raises UsageError for an unknown name, EsplError if it cannot be brought."""
    row = find_model(name)
    if row.folder().is_dir():
        out_console().print(plain(f"{name} is already in {row.folder()}"), soft_wrap=True)
        return
    assert row.get is not None, "a model that is not shipped can be got"
    console = err_console()
    with console.status(f"getting {name} …") if console.is_terminal else nullcontext():
        folder = row.get()
    out_console().print(plain(f"{name} -> {folder}; licence {row.licence}; use it with: --model {name}"), soft_wrap=True)
