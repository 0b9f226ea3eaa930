"""Real data sets for tests, imported as a user would; and a stand-in for the grader, which has tests of its own."""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from espl_envs.math.spec import MATH

from espl_bench import registry
from espl_bench.cli import invoke
from espl_bench.types import Outcome

TEST_DATA = Path(os.environ.get("ESPL_BENCH_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
"""A folder of public problems as JSON Lines, outside the repository; without it, the tests that need it are skipped."""
needs_test_data = pytest.mark.skipif(not TEST_DATA.is_dir(), reason="no test data: set ESPL_BENCH_TEST_DATA")

IMPORTS: tuple[tuple[str, str, str, str | None], ...] = (
    ("beyondaime", "aime_2022_2024", "train", None),
    ("beyondaime", "beyondaime", "test", None),
    ("beyondaime-amc", "amc12_2022_2023", "train", "amc12-2022-2023"),
    ("aime25", "dapo_math_17k_sample", "train", None),
    ("aime25", "aime_2025", "test", None),
    ("hmmt25", "hmmt_feb_2024", "train", "hmmt-feb-2024"),
    ("hmmt25", "hmmt_feb_2025", "train", "hmmt-feb-2025"),
    ("hmmt25", "hmmt_nov_2025", "test", None),
    ("math500", "math500", "test", None),
)
"""Environment, file, split and source. HMMT February 2023 is not among the test data."""


def know_math(patch: pytest.MonkeyPatch) -> None:
    """Let the registry find the mathematics environments, also where the package was installed before it had them."""
    known = registry._points
    ours = {spec.name: SimpleNamespace(load=lambda spec=spec: spec, value="espl_envs.math.spec") for spec in MATH}
    patch.setattr(registry, "_points", lambda group: {**known(group), **(ours if group == registry.ENV_GROUP else {})})


def import_all(home: Path) -> None:
    """Put the test data into a data home."""
    with pytest.MonkeyPatch.context() as patch:
        know_math(patch)
        patch.setenv("ESPL_BENCH_DATA", str(home))
        for env, file, split, source in IMPORTS:
            named = ["--source", source] if source else []
            assert invoke(["data", "import", env, "--split", split, "--from", str(TEST_DATA / f"{file}.jsonl"), *named, "--json"]) == 0


@dataclass(frozen=True)
class Grade:
    outcome: Outcome
    detail: str = ""


def boxed(text: str) -> str | None:
    """What the last box holds."""
    start = text.rfind(r"\boxed{")
    depth, place = 1, start + len(r"\boxed{")
    while start >= 0 and depth and place < len(text):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        place += 1
    return None if start < 0 or depth else text[start + len(r"\boxed{") : place - 1]


def grade(gold: str, response: str, rules: Any) -> Grade:
    """Text against text: knows one box, and no mathematics."""
    found = boxed(response)
    if found == "a grader that fails":
        return Grade(Outcome.TIMEOUT, "the grader took too long")
    if not found:
        return Grade(Outcome.NO_ANSWER)
    return Grade(Outcome.CORRECT if found.strip() == gold.strip() else Outcome.WRONG)


def stand_in_grader(patch: pytest.MonkeyPatch) -> None:
    """Grade by the stand-in instead of the project's grader."""
    module = ModuleType("espl_bench.grading")
    vars(module).update(GradingRules=SimpleNamespace, grade=grade)
    patch.setitem(sys.modules, "espl_bench.grading", module)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    import json

    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
