"""Real data sets for tests, imported as a user would."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from espl_bench.cli.app import invoke

TEST_DATA = Path(os.environ.get("ESPL_BENCH_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
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


def import_all(home: Path) -> None:
    """Put the test data into a data home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPL_BENCH_DATA", str(home))
        for env, file, split, source in IMPORTS:
            named = ["--source", source] if source else []
            assert invoke(["data", "import", env, "--split", split, "--from", str(TEST_DATA / f"{file}.jsonl"), *named, "--json"]) == 0


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
