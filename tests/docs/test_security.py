"""SECURITY.md names the test that holds each promise: all of them exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_named_test_exists():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text()))
    defined = {name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    assert len(named) > 30 and named - defined == set()


def test_every_named_file_exists():
    named = re.findall(r"`((?:benchmarks|tests)/[\w/.]+)`", (ROOT / "SECURITY.md").read_text())
    assert named and [name for name in named if not (ROOT / name).is_file()] == []
