"""The page for Python users does what it says: its blocks run, one after another, in one folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_S

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.mark.slow
def test_every_block_of_the_page_runs(tmp_path: Path):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == PAGE.read_text().count("```") / 2, "there is no code that is not run"
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "runs/counted/summary.json").exists(), "to the last block"
    assert "stopped after step 1" in done.stdout and "| espl |" in done.stdout
