"""Output to a terminal or a file whose encoding lacks characters."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from data_fixtures import write_jsonl


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_character_is_printed_or_escaped_as_json_does(encoding: str, tmp_path: Path):
    problem = "Café, √2 and 𝒜: how many?"
    file = write_jsonl(tmp_path / "a.jsonl", [{"problem": problem, "answer": "1"}])
    command = [sys.executable, "-m", "espl_bench", "data", "check", "jsonl", f"--data=test={file}", "--json"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode(encoding))["splits"][0]["first_problem"] == problem


def test_a_table_is_printed_on_a_terminal_of_another_encoding(tmp_path: Path):
    file = write_jsonl(tmp_path / "a.jsonl", [{"problem": "√2", "answer": "1"}])
    command = [sys.executable, "-m", "espl_bench", "data", "check", "jsonl", f"--data=test={file}"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and rb"\u221a2" in done.stdout
