"""The front page says what the published results say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_table_of_the_published_summaries():
    done = subprocess.run([sys.executable, ROOT / "docs" / "refresh_readme.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
