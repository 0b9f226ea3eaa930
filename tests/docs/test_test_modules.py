"""Tests stand alone: what several share lies in tests/support, so that any of them can be moved, renamed or run by itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]


def imported(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "", *(alias.name for alias in node.names))


def test_no_module_imports_a_test_module():
    tests = {path.stem for path in TESTS.rglob("test_*.py")}
    assert {"test_test_modules", "test_resume"} <= tests, "they are found"
    taken = {path.name: tests.intersection(part for name in imported(path) for part in name.split(".")) for path in TESTS.rglob("*.py")}
    assert {name: found for name, found in taken.items() if found} == {}


def test_every_test_module_has_a_name_of_its_own():
    names = sorted(path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py")
    assert names == sorted(set(names)), "they are imported by name alone"
