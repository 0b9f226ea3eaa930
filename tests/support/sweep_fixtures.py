"""Small sweeps, and what must be equal however they were carried out."""

import json
import os
import subprocess
import sys
from pathlib import Path

from espl_bench.runs.run_dir import SUMMARY

GRID = """
methods = ["rl_only", "espl"]
environments = ["rulebook", {{ name = "rulebook", label = "w3", options = {{ world = 3 }} }}]
seeds = {seeds}

[options]
steps = {steps}
num_prompts = 2
batch_size = 2
group_size = 2
max_tokens = 40
editor_max_tokens = 64
eval_samples = 1
eval_every = 0
checkpoint_every = 1
lora_rank = 4
{more}
"""
CELLS = ["rulebook-rl_only-s0", "rulebook-espl-s0", "w3-rl_only-s0", "w3-espl-s0"]


def write_grid(folder: Path, seeds: int = 1, steps: int = 2, more: str = "") -> Path:
    path = folder / "grid.toml"
    path.write_text(GRID.format(seeds=seeds, steps=steps, more=more))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "espl_bench", "sweep", *map(str, arguments)]


def sweep(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, timeout=900, env={**os.environ, "COLUMNS": "120"}
    )


def results(place: Path) -> dict[str, dict]:
    """Cell → summary without its seconds."""
    return {path.parent.name: timeless(json.loads(path.read_text())) for path in sorted(place.glob(f"*/{SUMMARY}"))}


def timeless(summary: dict) -> dict:
    for name in ("wall_s", "device_s"):
        del summary["ledger"][name]
    for point in summary["curve"]:
        del point["spent"]["seconds"]
    return summary


def attempts(place: Path) -> dict[str, list[dict]]:
    return {path.stem: json.loads(path.read_text())["attempts"] for path in sorted(place.glob("attempts/*.json"))}


def outcomes(place: Path) -> dict[str, list[str | None]]:
    return {cell: [each["outcome"] for each in made] for cell, made in attempts(place).items()}
