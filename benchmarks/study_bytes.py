"""The end of a run or of a folder of runs, as hashes that must not depend on how often it was interrupted."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

LOGS = ("metrics.jsonl", "population.jsonl", "evaluations.jsonl")
SHOWN = 5
"""Number of differing files that are named."""


def end_of(folder: Path) -> dict[str, str]:
    """Hash what a result consists of, by path: logs, rollouts, newest adapters, and summaries without their clocks."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(content).hexdigest()
        for summary in folder.rglob("summary.json")
        for path, content in _contents(summary.parent).items()
    }


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Name the files that differ; empty if none does. An end without any run is a difference."""
    if not expected:
        return "the unbroken run left nothing to compare"
    differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return f"differs in {', '.join(differing[:SHOWN])}{more}" if differing else ""


def _contents(run: Path) -> dict[Path, bytes]:
    files = [*(run / name for name in LOGS), *(run / "rollouts").glob("*.jsonl*")]
    newest = max((run / "checkpoints").glob("step_*"), default=None)
    if newest:
        files += newest.glob("adapter_model.safetensors")
    contents = {file: file.read_bytes() for file in files if file.exists()}
    contents[run / "summary.json"] = _without_clocks(run / "summary.json")
    return contents


def _without_clocks(path: Path) -> bytes:
    summary = json.loads(path.read_text())
    for seconds in ("wall_s", "device_s"):
        summary["ledger"].pop(seconds)
    for point in summary["curve"]:
        point["spent"].pop("seconds")
    return json.dumps(summary, sort_keys=True).encode()
