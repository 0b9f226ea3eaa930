"""Hand-made runs for the tests of tables and screens."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from espl_bench.accounting.usage import LedgerTotals, Spent
from espl_bench.config.run_config import RunConfig
from espl_bench.evolution.operators.proposal import Evidence
from espl_bench.method import ESPL
from espl_bench.runs.log_rows import EvaluationRow, MetricsRow
from espl_bench.runs.population_events import BornEvent, RatedEvent, RejectedEvent
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.runs.summary import CurvePoint, Summary
from espl_bench.types import Outcome, Split


def make_summary(method: str = "espl", seed: int = 0, scores: Sequence[float] = (1.0, 0.0, 0.5, 0.5), **changes: Any) -> Summary:
    score = sum(scores) / len(scores)
    trained = method != "base"
    k = changes.get("k", 4)
    ledger = {
        "rollouts": 6000 if trained else 0,
        "generated_tokens": 181_234 if trained else 0,
        "prompt_tokens": 300_000 if trained else 0,
        "reflection_tokens": 12_345 if method in ("espl", "evolution_only") else 0,
        "reflection_prompt_tokens": 0,
        "reflection_calls": 120,
        "train_tokens": 480_000,
        "eval_rollouts": 800,
        "eval_tokens": 25_000,
        "wall_s": 192.0,
        "device_s": 150.0,
    } | changes.pop("ledger", {})
    values: dict[str, Any] = {
        "run_id": f"{re.sub(r'[^A-Za-z0-9_.-]', '', method)}-{seed}",
        "method": method,
        "env": "rulebook",
        "env_options": {},
        "model": "lab",
        "engine": "hf",
        "seed": seed,
        "steps": 40 if trained else 0,
        "score": score,
        "k": 4,
        "n_items": len(scores),
        "validation_score": score,
        "outcomes": {"correct": score, "wrong": 1 - score},
        "sample_scores": tuple(samples_of(float(value), k) for value in scores),
        "ledger": LedgerTotals(**ledger),
        "curve": (
            CurvePoint(step=0, split="validation", score=0.1, spent=spent(0)),
            CurvePoint(step=40, split="validation", score=score, spent=spent(40 if trained else 0)),
        ),
        "shown_prompt": ("dax larger", "fep [sum]"),
    }
    return Summary(**(values | changes))


def samples_of(mean: float, k: int) -> tuple[float, ...]:
    """k rewards with this mean: ones first, then what is left, then zeros."""
    return tuple(min(1.0, max(0.0, mean * k - place)) for place in range(k))


def spent(steps: int) -> Spent:
    """What so many iterations of 150 rollouts cost."""
    return Spent(
        rollouts=150 * steps, generated_tokens=4500 * steps, reflection_tokens=300 * steps, train_tokens=12_000 * steps, seconds=4.5 * steps
    )


def make_study(items: int = 100, seeds: int = 3) -> list[Summary]:
    """Five methods whose true scores are spread, espl and rl_only close together."""
    truth = {"base": 0.2, "reflection_only": 0.35, "evolution_only": 0.42, "rl_only": 0.6, "espl": 0.62}
    hard = np.random.default_rng(0).normal(0, 0.15, items)
    found: list[Summary] = []
    for place, (method, level) in enumerate(truth.items()):
        for seed in range(seeds):
            rng = np.random.default_rng([place, seed])
            found.append(make_summary(method, seed, (rng.binomial(4, np.clip(level + hard, 0, 1)) / 4).tolist()))
    return found


def write_run(folder: Path, summary: Summary | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "provenance.json").write_text("{}")
    if summary:
        (folder / "summary.json").write_text(summary.to_json())
    return folder


def make_config(**changes: Any) -> RunConfig:
    return RunConfig(**({"method": ESPL, "env": "rulebook", "model": "lab", "steps": 40} | changes))


NASTY = "dax [bold]larger[/bold] . \x1b[31m\x07:smile: \u202egnp"
"""What a model may write: markup, an escape sequence, a bell, an emoji code, a right-to-left override."""
NASTY_SHOWN = "dax [bold]larger[/bold] . [31m:smile: gnp"


def make_run(folder: Path, summary: Summary | None = None, **changes: Any) -> Path:
    """A run directory with three living prompts, a crossover, a rejected child and one stored step."""
    run = RunDir.create(folder, make_config(**changes), provenance={})
    for event in EVENTS:
        run.append(Log.POPULATION, event.encode())
    for step in (1, 2, 3):
        run.append(Log.METRICS, make_metrics(step).encode())
    for step, score in ((0, 0.2), (3, 0.5)):
        run.append(Log.EVALUATIONS, EvaluationRow(step, Split.VALIDATION, score, 0, {}).encode())
    run.write_rollouts(3, [make_rollout(place) for place in range(4)])
    if summary:
        run.write_summary(summary)
    return folder


def make_metrics(step: int, **changes: Any) -> MetricsRow:
    outcomes = {Outcome.CORRECT: 0.5, Outcome.WRONG: 0.5}
    row = MetricsRow(step, reward=0.5, rewards={}, outcomes=outcomes, population=3, shown=2, generated_tokens=36, train={})
    return replace(row, **changes)


def make_rollout(place: int) -> dict[str, Any]:
    return {
        "problem_id": f"train/{place}",
        "question": "3 dax 5 = ?",
        "answer": "5",
        "prompt_id": 1,
        "sample": 0,
        "slot": 0,
        "turns": [f"rollout {place} {NASTY}"],
        "reward": 0.0,
        "outcome": "wrong",
        "stop_reason": "stop",
        "generated_tokens": 9,
        "error": None,
    }


def born(prompt_id: int, step: int, origin: str, parents: Sequence[int], *principles: str) -> BornEvent:
    edit = Evidence(op="merge", ids=(0, 2), principle=NASTY, source="train/3", reason="3 dax 5")
    return BornEvent(step, prompt_id, origin, tuple(parents), principles, mu=25.0, sigma=8.0, evidence=(edit,) if parents else ())


def rated(step: int, means: dict[int, float], ratings: dict[int, tuple[float, float]]) -> RatedEvent:
    return RatedEvent(step, means, ratings)


EVENTS = (
    born(0, 0, "root", []),
    rated(1, {0: 0.2}, {}),
    born(1, 1, "mutation", [0], NASTY),
    rated(2, {0: 0.2, 1: 0.6}, {0: (22.0, 6.0), 1: (28.0, 6.0)}),
    RejectedEvent(2, "mutation", (1,), "no_contrast", ""),
    rated(3, {0: 0.7, 1: 0.4}, {0: (24.0, 5.0), 1: (26.0, 5.0)}),
    born(2, 3, "crossover", [0, 1], "fep sum", NASTY),
)
