"""Every family of models in engine hf: opened, sampled, trained, saved and resumed. The table in docs/models.md says what happens."""

from pathlib import Path

import pytest
from family_trial import PAGE, try_family
from model_families import FAMILIES

FAST = ("llama", "mistral (window)", "qwen3_moe", "mamba")
"""One of each way of reading that the others need no more than."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in FAMILIES])
def test_a_family_works_as_the_table_says(name: str, tmp_path: Path) -> None:
    row = try_family(name, tmp_path)
    assert row.works or row.remark.startswith("model '"), row
    assert "\n" not in row.remark
    assert row.line() in PAGE.read_text(encoding="utf-8").splitlines(), (
        "docs/models.md is stale; run: python docs/refresh_models.py --write"
    )


def test_the_table_has_every_family_once() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [sum(line.startswith(f"| {name} |") for line in lines) for name in FAMILIES] == [1] * len(FAMILIES)
