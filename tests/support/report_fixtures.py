"""Run directories for the tests of pages and pictures, made by hand so that every field can hold anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cli_fixtures import born, make_config, make_summary, rated

from espl_bench.accounting.usage import LedgerTotals, Spent
from espl_bench.runs.population_events import RejectedEvent
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.runs.summary import CurvePoint, Summary
from espl_bench.types import Split

TRAIN = {"ratio_mean": 1.0, "kl_sampler": 1e-6, "clip_fraction": 0.0, "entropy": 0.2, "loss": -0.1, "grad_norm": 0.5}


def make_row(problem: int, sample: int, prompt: int = 1, reward: float = 0.0, **changes: Any) -> dict[str, Any]:
    """A stored rollout."""
    return {
        "problem_id": f"train/{problem}",
        "question": f"{problem} dax 5 = ?",
        "answer": "5",
        "prompt_id": prompt,
        "slot": 0,
        "sample": sample,
        "turns": [f"dax larger {problem} answer {sample}"],
        "lengths": [[4, 7, 1 + len(str(problem)), 7, 1 + len(str(sample))]],
        "surprisals": [[0, 12, 230, 3, 500]],
        "reward": reward,
        "outcome": "correct" if reward == 1.0 else "wrong",
        "stop_reason": "stop",
        "generated_tokens": 5,
        "error": None,
    } | changes


def group_rows(problem: int, rewards: Sequence[float], prompt: int = 1) -> list[dict[str, Any]]:
    """One group: a rollout for each reward."""
    return [make_row(problem, sample, prompt, reward) for sample, reward in enumerate(rewards)]


EVENTS = (
    born(0, 0, "root", []),
    rated(1, {0: 0.2}, {0: (25.0, 8.0)}),
    born(1, 1, "mutation", [0], "dax larger", "fep sum of the digits"),
    rated(2, {0: 0.2, 1: 0.6}, {0: (22.0, 6.0), 1: (28.0, 6.0)}),
    RejectedEvent(2, "mutation", (1,), "no_contrast", ""),
    rated(3, {0: 0.7, 1: 0.4}, {0: (24.0, 5.0), 1: (26.0, 5.0)}),
    born(2, 3, "crossover", [0, 1], "fep sum of both digits", "wug double"),
    rated(4, {1: 0.4, 2: 0.7}, {1: (25.0, 4.0), 2: (29.0, 4.0)}),
)


def metrics_row(step: int, shown: int = 1) -> dict[str, Any]:
    return {
        "step": step,
        "reward": 0.25 * step,
        "rewards": {},
        "outcomes": {"correct": 0.25, "wrong": 0.75},
        "population": 2,
        "shown": shown,
        "generated_tokens": 80,
        "train": TRAIN,
    }


def evaluation_row(step: int, split: str, score: float, prompt: int = 1) -> dict[str, Any]:
    return {
        "step": step,
        "split": split,
        "score": score,
        "prompt_id": prompt,
        "outcomes": {"correct": score, "wrong": 1 - score},
        "spent": spent_at(step).model_dump(exclude={"seconds", "cost_usd"}),
    }


def make_run(folder: Path, method: str = "espl", seed: int = 0, steps: int = 4, finished: bool = True, **config: Any) -> Path:
    """A whole run of four iterations: three prompts, four groups a step, evaluations at the start and at the end."""
    run = RunDir.create(folder, make_config(seed=seed, steps=4, **config), provenance={"espl_bench": "0", "packages": {"torch": "2"}})
    for event in EVENTS:
        if event.step <= steps:
            run.append(Log.POPULATION, event.encode())
    for step in range(1, steps + 1):
        add_step(run, step)
    for step, score in ((0, 0.1), (steps, 0.5)):
        for split in ("validation", "test"):
            run.append(Log.EVALUATIONS, evaluation_row(step, split, score, 0 if step == 0 else 1))
    run.write_rollouts(steps, [make_row(7, 0, reward=1.0, problem_id="test/7")], Split.TEST)
    if finished:
        run.write_summary(summary_of(method, seed))
    return folder


def add_step(run: RunDir, step: int) -> None:
    """What one more iteration leaves."""
    run.append(Log.METRICS, metrics_row(step, shown=0 if step == 1 else 1))
    run.append(Log.TIMING, {"step": step, "seconds": 1.5, "tokens_per_second": 900.0 + step})
    prompts = (0,) if step == 1 else (0, 1)
    rows = [row for prompt in prompts for problem in (step, step + 10) for row in group_rows(problem, (1.0, 0.0, 0.0, 0.0), prompt)]
    run.write_rollouts(step, rows)


def spent_at(step: int) -> Spent:
    return Spent(rollouts=16 * step, generated_tokens=80 * step, reflection_tokens=9 * step, train_tokens=300 * step, seconds=1.5 * step)


def summary_of(method: str = "espl", seed: int = 0, scores: Sequence[float] = (1.0, 0.0, 0.5, 0.5), **changes: Any) -> Summary:
    """A summary with a curve on both splits."""
    score = sum(scores) / len(scores)
    splits: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    points = ((0, 0.1), (2, 0.3 + 0.01 * seed), (4, score))
    curve = tuple(CurvePoint(step=step, split=split, score=value, spent=spent_at(step)) for step, value in points for split in splits)
    return make_summary(method, seed, scores, **({"curve": curve, "steps": 4} | changes))


NO_LEDGER = LedgerTotals(**dict.fromkeys(LedgerTotals.model_fields, 0))
