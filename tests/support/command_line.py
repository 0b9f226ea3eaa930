"""The command line in this process, with its one line of complaint."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from espl_bench.cli.app import invoke


@dataclass
class CommandLine:
    capsys: pytest.CaptureFixture[str]

    def fails(self, *arguments: str | Path, code: int = 1) -> str:
        """Run; check the exit code and that the complaint is one line on stderr; return it."""
        self.capsys.readouterr()
        assert invoke([str(argument) for argument in arguments]) == code
        out, err = self.capsys.readouterr()
        *shown, complaint = err.splitlines()
        assert out == ""
        assert complaint.startswith("espl-bench: ")
        assert not any("Traceback" in line or line.startswith("espl-bench: ") for line in shown)
        return complaint

    def succeeds(self, *arguments: str | Path) -> str:
        assert invoke([str(argument) for argument in arguments]) == 0
        return self.capsys.readouterr().out
