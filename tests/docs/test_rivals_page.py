"""The map of the rivals points at symbols that exist, leaves no rival out, and counts their lines rightly."""

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from espl_baselines import selectors as rival_selectors
from loop_fixtures import all_methods

from espl_bench.method import find_method
from espl_bench.registry import METHODS, SELECTORS, code_of, names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rivals.md").read_text(encoding="utf-8")
SYMBOL = re.compile(r"`([a-z_][\w.]*):([A-Za-z_][\w.]*)`")
SYMBOLS = sorted({(match[1], match[2]) for match in SYMBOL.finditer(PAGE)})
COUNTED = re.compile(r"^\| `(\w+)`(?:, `\w+`)? \| (\d+) \|", re.MULTILINE)
OWN = ("base", "rl_only", "reflection_only", "evolution_only", "espl_")
"""How modules begin that hold the paper's own rows, and variants of E-SPL."""


def code_lines(path: Path) -> int:
    """Lines that hold code: no docstring, comment or empty line."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    docs: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docs |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(1 for number, line in lines if line.strip() and not line.strip().startswith("#") and number not in docs)


@pytest.mark.parametrize(("module", "name"), SYMBOLS, ids=[f"{module}:{name}" for module, name in SYMBOLS])
def test_every_symbol_of_the_page_exists(module: str, name: str):
    owner: Any = import_module(module)
    for part in name.split("."):
        fields = getattr(owner, "__dataclass_fields__", {})
        assert hasattr(owner, part) or part in fields, f"{module}:{name}"
        owner = getattr(owner, part, None)


def test_every_statement_says_where_it_is_or_that_it_is_not():
    rows = [line for line in PAGE.split("## Lines and cost")[0].splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 40
    assert all(SYMBOL.search(row) or "| – |" in row or "| here" in row for row in rows)


def test_no_rival_is_left_out():
    modules = {name: code_of(METHODS, name).module for name in all_methods()}
    rivals = {name for name, module in modules.items() if module.startswith("espl_baselines.") and not module.split(".")[1].startswith(OWN)}
    headings = ", ".join(line for line in PAGE.splitlines() if line.startswith("## "))
    assert rivals and all(re.search(rf"\b{name}\b", headings) for name in rivals)
    own = {name for name in names(SELECTORS) if code_of(SELECTORS, name).module == rival_selectors.__name__}
    assert own and all(f"| `{name}` |" in PAGE for name in own)


def test_the_lines_of_each_rival_are_counted():
    counted = {match[1]: int(match[2]) for match in COUNTED.finditer(PAGE)}
    assert set(counted) >= {"fst", "gepa", "distill", "tf_grpo", "prompt_then_weights"}
    found = {name: code_lines(ROOT / "baselines" / Path(*code_of(METHODS, name).module.split(".")).with_suffix(".py")) for name in counted}
    assert counted == found and all(find_method(name) for name in counted)
