"""Stored rollouts for the page: columns to filter by, and texts in pieces that are loaded when they are looked at.

A run may have a hundred thousand rollouts, and a page should stay below a few megabytes. So a share of them can be kept:
always whole groups, evenly spread over the run, the same ones every time.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from espl_bench.learning.advantages import Baseline, centred
from espl_bench.run_dir import TRAINING, RunDir
from espl_bench.types import Outcome, Split

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RolloutFile:
    """The rollouts of one iteration or one evaluation."""

    step: int
    split: Split | None
    """None: training."""

    @property
    def name(self) -> str:
        """As in the file's name: ``step_12``, ``test_60``."""
        return f"{self.split or TRAINING}_{self.step}"


def rollout_files(run: RunDir) -> list[RolloutFile]:
    """What the run has stored: training in order, then the evaluations of each split."""
    return [RolloutFile(step, split) for split in (None, *Split) for step in run.rollout_steps(split)]


@dataclass(frozen=True, slots=True)
class Sample:
    """The kept rollouts of one file, each with its advantage."""

    file: RolloutFile
    stored: int
    """Rollouts in the file."""
    rows: tuple[Row, ...]
    advantages: tuple[float | None, ...]
    """Reward minus the mean of its baseline set; None in an evaluation and for a rollout that could not be graded."""


def read_samples(run: RunDir, baseline: Baseline, share: float = 1.0) -> Iterator[Sample]:
    """The rollouts of a run, file by file. Raises RunDirError if one cannot be read.

    Args:
        run: where they are stored.
        baseline: what the method compares a reward with.
        share: of the groups to keep, in (0, 1].
    """
    met = 0
    for file in rollout_files(run):
        rows = run.read_rollouts(file.step, file.split)
        worth = _advantages(rows, baseline) if file.split is None else [None] * len(rows)
        kept: list[tuple[Row, float | None]] = []
        for _, group in groupby(zip(rows, worth, strict=True), key=lambda pair: _group_of(pair[0])):
            met += 1
            if math.floor(met * share) > math.floor((met - 1) * share):
                kept.extend(group)
        yield Sample(file, len(rows), tuple(row for row, _ in kept), tuple(value for _, value in kept))


def _group_of(row: Row) -> tuple[object, ...]:
    return (row["prompt_id"], row["slot"], row["problem_id"])


def _advantages(rows: Sequence[Row], baseline: Baseline) -> list[float | None]:
    sets: dict[tuple[object, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if Outcome(row["outcome"]).graded:
            key = _group_of(row) if baseline is Baseline.PER_PROMPT else (row["problem_id"],)
            sets.setdefault(key, []).append(place)
    found: list[float | None] = [None] * len(rows)
    for places in sets.values():
        for place, value in zip(places, centred([rows[place]["reward"] for place in places]), strict=True):
            found[place] = value
    return found


@dataclass
class Index:
    """Columns of all kept rollouts of a run, in the order of its files."""

    files: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    problems: dict[str, int] = field(default_factory=dict[str, int])
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in COLUMNS})

    def add(self, sample: Sample) -> None:
        """Append one file's rollouts."""
        file = sample.file
        self.files.append(
            {"name": file.name, "step": file.step, "split": file.split or "train", "stored": sample.stored, "kept": len(sample.rows)}
        )
        for row, advantage in zip(sample.rows, sample.advantages, strict=True):
            self.columns["problem"].append(self.problems.setdefault(str(row["problem_id"]), len(self.problems)))
            self.columns["prompt"].append(row["prompt_id"])
            self.columns["sample"].append(row["sample"])
            self.columns["outcome"].append(OUTCOMES.index(row["outcome"]))
            self.columns["reward"].append(row["reward"])
            self.columns["tokens"].append(row["generated_tokens"])
            self.columns["advantage"].append(None if advantage is None else round(advantage, 4))

    def to_json(self) -> dict[str, Any]:
        """As the page reads it."""
        return {"files": self.files, "problems": list(self.problems), "outcomes": OUTCOMES, **self.columns}


COLUMNS = ("problem", "prompt", "sample", "outcome", "reward", "tokens", "advantage")
OUTCOMES = [outcome.value for outcome in Outcome]


def texts(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """What is only read when a rollout is looked at."""
    return [_text(row) for row in rows]


def _text(row: Row) -> dict[str, Any]:
    turns: Sequence[str] = row["turns"]
    return {
        "question": row["question"],
        "answer": row["answer"],
        "turns": list(turns),
        "heard": [[{"tool": each.get("tool"), "text": each["text"]} for each in heard] for heard in row.get("heard", ())],
        "lengths": _per_turn(row.get("lengths"), len(turns)),
        "surprisals": _per_turn(row.get("surprisals"), len(turns)),
        "stop": row["stop_reason"],
        "error": row["error"],
    }


def _per_turn(values: Any, turns: int) -> list[list[int]]:
    """A list for each turn, empty where a run is older than the column or its engine knew no tokens."""
    return [list(each) for each in values] if values and len(values) == turns else [[] for _ in range(turns)]
