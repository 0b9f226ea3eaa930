"""Runs with very many of one thing, as a stranger's log may hold them, and a measure of the work that reading them takes."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from cli_fixtures import born, make_config, rated
from report_fixtures import EVENTS, evaluation_row, make_row, metrics_row, spent_at, summary_of

import espl_bench
from espl_bench.method import ESPL
from espl_bench.runs.population_events import PopulationEvent, RejectedEvent
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.runs.summary import CurvePoint
from espl_bench.types import Split
from espl_bench.utils import jsonl

PACKAGE = str(Path(espl_bench.__file__).parent)
ROOT = born(0, 0, "root", [])


def siblings(n: int) -> list[PopulationEvent]:
    return [ROOT, *(born(key, 1, "mutation", [0], f"dax {key}", "wug") for key in range(1, n))]


POPULATIONS: dict[str, Callable[[int], list[PopulationEvent]]] = {
    "chain": lambda n: [ROOT, *(born(key, key, "mutation", [key - 1], f"dax {key}") for key in range(1, n))],
    "siblings": siblings,
    "branches": lambda n: [ROOT, *(born(key, key, "mutation", [(key - 1) // 2], f"dax {key}") for key in range(1, n))],
    "living": siblings,
    "roots": lambda n: [ROOT, *(born(key, 1, "root", [], f"dax {key}") for key in range(1, n))],
    "parents": lambda n: [*siblings(n), born(n, 2, "crossover", range(n), "dax")],
    "principles": lambda n: [ROOT, born(1, 1, "mutation", [0], *(f"dax {key}" for key in range(n)))],
    "rated": lambda n: [*siblings(n), rated(2, {key: key / n for key in range(n)}, {key: (25.0, 8.0 + key / n) for key in range(n)})],
    "ratings": lambda n: [
        ROOT,
        born(1, 1, "mutation", [0], "dax"),
        *(rated(step, {0: 0.1, 1: 0.5}, {0: (25.0, 8.0), 1: (26.0, 8.0)}) for step in range(2, n)),
    ],
    "rejected": lambda n: [ROOT, *(RejectedEvent(1, "mutation", (0,), f"reason {key}", "") for key in range(n))],
}
"""What the log of the population holds `n` of."""
OTHERS = ("steps", "evaluations", "rollouts", "group", "files", "turns", "curve", "items")


def long_run(folder: Path, kind: str, n: int) -> Path:
    """A finished run that holds `n` of one thing."""
    method = replace(ESPL, population_size=10**5) if kind == "living" else ESPL
    steps = n if kind in ("steps", "chain", "branches", "ratings") else 4
    run = RunDir.create(folder, make_config(steps=steps, method=method), provenance={"espl_bench": "0", "packages": {"torch": "2"}})
    tested = range(n) if kind == "evaluations" else (0, steps)
    logs: dict[Log, list[dict[str, Any]]] = {
        Log.POPULATION: [event.encode() for event in POPULATIONS.get(kind, lambda _: list(EVENTS))(n)],
        Log.METRICS: [metrics_row(step, shown=0) for step in range(1, steps + 1)],
        Log.TIMING: [{"step": step, "seconds": 1.5, "tokens_per_second": 900.0} for step in range(1, steps + 1)],
        Log.EVALUATIONS: [evaluation_row(step, split, 0.5, 0) for step in tested for split in ("validation", "test")],
    }
    for log, rows in logs.items():
        log.path(folder).write_bytes(b"".join(map(jsonl.encode, rows)))
    for step, rows in rollouts(kind, n):
        run.write_rollouts(step, rows)
    run.write_rollouts(4, [make_row(7, 0, reward=1.0, problem_id="test/7")], Split.TEST)
    points = n if kind == "curve" else 2
    curve = tuple(
        CurvePoint(step=step, split=split, score=0.5, spent=spent_at(step)) for step in range(points) for split in ("validation", "test")
    )
    scores = tuple(float(item % 2) for item in range(n if kind == "items" else 4))
    run.write_summary(summary_of(scores=scores, curve=curve, steps=steps))
    return folder


def rollouts(kind: str, n: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    match kind:
        case "rollouts":
            yield 1, [make_row(item, 0, prompt=0, reward=float(item % 2)) for item in range(n)]
        case "group":
            yield 1, [make_row(0, sample, prompt=0, reward=float(sample % 2)) for sample in range(n)]
        case "files":
            yield from ((step, [make_row(0, 0, prompt=0)]) for step in range(1, n + 1))
        case "turns":
            yield 1, [make_row(0, 0, prompt=0, turns=["dax"] * n, lengths=[[3]] * n, surprisals=[[1]] * n)]
        case _:
            yield 1, [make_row(0, 0, prompt=0)]


def lines_of(function: Callable[[], object]) -> int:
    """Count the lines of this package that a call goes through: a measure of its work that no machine makes slower."""
    count = 0

    def in_package(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += 1
        return in_package

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        return in_package if frame.f_code.co_filename.startswith(PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count
