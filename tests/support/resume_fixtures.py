"""Runs that are broken after a step, and what must be equal to an unbroken one in the end."""

import json
from pathlib import Path
from typing import Any

from espl_bench.monitoring.reporter import Silent, StepReport


def check_same_rollouts(folder: Path, unbroken: Path) -> None:
    """Byte for byte, those of evaluations too."""
    found, expected = ({path.name: path.read_bytes() for path in (each / "rollouts").iterdir()} for each in (folder, unbroken))
    assert found == expected and any(name.startswith("test_") for name in found)


def summary(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "summary.json").read_text())
    for seconds in ("wall_s", "device_s"):
        assert found["ledger"].pop(seconds) > 0
    clocks = [point["spent"].pop("seconds") for point in found["curve"]]
    assert clocks == sorted(clocks) and clocks[-1] > 0
    return found


class PulledError(Exception):
    """The plug, by a test."""


class PullsThePlug(Silent):
    def __init__(self, after: int) -> None:
        self.after = after

    def stepped(self, report: StepReport) -> None:
        if report.step == self.after:
            raise PulledError
