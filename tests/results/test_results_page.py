"""The page of results says what the published summaries say, and shows pictures that are there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_results_is_made_of_the_published_summaries():
    done = subprocess.run([sys.executable, ROOT / "docs" / "refresh_results.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_its_pictures_are_there():
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "docs" / "results.md").read_text(encoding="utf-8"))
    assert len(named) == 7
    assert all((ROOT / "docs" / name).read_bytes().startswith(b"\x89PNG") for name in named)
