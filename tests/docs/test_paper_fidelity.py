"""The map of the paper points at symbols that exist."""

import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from espl_bench.config.presets import PAPER

MAP = Path(__file__).parents[2] / "docs" / "paper-fidelity.md"
SYMBOL = re.compile(r"`([a-z_][\w.]*):([A-Za-z_][\w.]*)`")
SYMBOLS = sorted({(match[1], match[2]) for match in SYMBOL.finditer(MAP.read_text(encoding="utf-8"))})


def members(owner: Any) -> set[str]:
    """Names that an object has, fields without a default included."""
    named = set(owner.model_fields) if isinstance(owner, type) and issubclass(owner, BaseModel) else set()
    return named | {field.name for field in fields(owner)} if is_dataclass(owner) else named


@pytest.mark.parametrize(("module", "name"), SYMBOLS, ids=[f"{module}:{name}" for module, name in SYMBOLS])
def test_every_symbol_of_the_map_exists(module: str, name: str):
    owner: Any = import_module(module)
    for part in name.split("."):
        assert hasattr(owner, part) or part in members(owner), f"{module}:{name}"
        owner = getattr(owner, part, None)


def test_the_map_is_not_empty_and_every_row_says_where():
    assert len(SYMBOLS) > 60
    rows = [line for line in MAP.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and "---" not in line]
    assert all(SYMBOL.search(row) or "| – |" in row or "| here" in row for row in rows)


def test_every_hyper_parameter_of_the_papers_preset_is_on_the_map():
    named = {name.rpartition(".")[2] for _, name in SYMBOLS}
    own = {"placement", "loss", "editor_max_tokens", "editor_temperature", "editor_top_p"}
    """Set by the preset, and stated under other headings of the map."""
    assert set(PAPER.config) - own <= named
