"""A machine without data and models, on which commands are typed."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from patience import PATIENCE_S

NOWHERE = "http://127.0.0.1:9"
SMALL = (
    *("--steps=1", "--batch-size=2", "--group-size=2", "--num-prompts=1", "--max-tokens=8", "--editor-max-tokens=8", "--eval-samples=1"),
    "--out",
)
"""Options of a run that takes seconds; its folder follows."""


class Machine:
    """One with an empty home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {"HF_HOME": str(folder / "hub"), "ESPL_BENCH_DATA": str(folder / "data"), "CUDA_VISIBLE_DEVICES": ""}

    def start(self, arguments: Sequence[str], **variables: str) -> subprocess.Popen[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | self.variables | variables
        command = [sys.executable, "-m", "espl_bench", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=environ, text=True, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def call(self, arguments: Sequence[str], **variables: str) -> tuple[int, str, str]:
        process = self.start(arguments, **variables)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err
