"""Stored rollouts for the page: columns to filter by, and texts in pieces that are loaded when they are viewed.

A run may have a hundred thousand rollouts, and a page should stay below a few megabytes. So a share of them can be kept:
always whole groups, evenly spread over the run, the same ones every time.
"""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from espl_bench.learning.advantages import Baseline, differences
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import TRAINING, RunDir
from espl_bench.types import Observation, Outcome, Split


@dataclass(frozen=True, slots=True)
class RolloutFile:
    """Rollouts of one iteration or one evaluation."""

    step: int
    split: Split | None
    """None: training."""

    @property
    def name(self) -> str:
        """Stem of the file's name: ``step_12``, ``test_60``."""
        return f"{self.split or TRAINING}_{self.step}"


def rollout_files(run: RunDir) -> list[RolloutFile]:
    """List the run's stored files: training in order, then the evaluations of each split."""
    return [RolloutFile(step, split) for split in (None, *Split) for step in run.rollout_steps(split)]


@dataclass(frozen=True, slots=True)
class Sample:
    """Kept rollouts of one file, each with its advantage."""

    file: RolloutFile
    stored: int
    """Number of rollouts in the file."""
    rows: tuple[RolloutRow, ...]
    advantages: tuple[float | None, ...]
    """Reward minus the mean of the baseline set; None in an evaluation and for a rollout that could not be graded."""


def read_samples(run: RunDir, baseline: Baseline, share: float = 1.0) -> Iterator[Sample]:
    """Read the rollouts of a run, file by file. Raises RunDirError if one cannot be read.

    Args:
        run: directory that stores them.
        baseline: baseline of the run's method.
        share: share of the groups to keep, in (0, 1].
    """
    met = 0
    for file in rollout_files(run):
        whole = sample_of(file, run.read_rollouts(file.step, RolloutRow.parse, file.split), baseline)
        pairs: list[tuple[RolloutRow, float | None]] = []
        for _, group in groupby(zip(whole.rows, whole.advantages, strict=True), key=lambda pair: _group_of(pair[0])):
            met += 1
            if math.floor(met * share) > math.floor((met - 1) * share):
                pairs.extend(group)
        yield Sample(file, whole.stored, tuple(row for row, _ in pairs), tuple(value for _, value in pairs))


def sample_of(file: RolloutFile, rows: Sequence[RolloutRow], baseline: Baseline) -> Sample:
    """Make the sample of a whole file."""
    worth = _advantages(rows, baseline) if file.split is None else [None] * len(rows)
    return Sample(file, len(rows), tuple(rows), tuple(worth))


def _group_of(row: RolloutRow) -> tuple[object, ...]:
    return (row.prompt_id, row.slot, row.problem_id)


def _advantages(rows: Sequence[RolloutRow], baseline: Baseline) -> list[float | None]:
    sets: dict[Hashable, list[int]] = {}
    for index, row in enumerate(rows):
        if row.outcome.graded:
            sets.setdefault(baseline.key(row.problem_id, row.prompt_id, row.slot), []).append(index)
    advantages: list[float | None] = [None] * len(rows)
    for indices in sets.values():
        for index, value in zip(indices, differences([rows[index].reward for index in indices], baseline), strict=True):
            advantages[index] = value
    return advantages


@dataclass(frozen=True, slots=True)
class Listed:
    """Columns of one file's kept rollouts, without texts."""

    file: RolloutFile
    stored: int
    problems: tuple[str, ...]
    """Problem of each rollout."""
    columns: Mapping[str, tuple[Any, ...]]
    """All columns except the problems."""

    @classmethod
    def of(cls, sample: Sample) -> "Listed":
        """Extract the columns of a sample."""
        rows = sample.rows
        columns = {
            "prompt": tuple(row.prompt_id for row in rows),
            "sample": tuple(row.sample for row in rows),
            "outcome": tuple(OUTCOMES.index(row.outcome) for row in rows),
            "reward": tuple(row.reward for row in rows),
            "tokens": tuple(row.generated_tokens for row in rows),
            "advantage": tuple(None if value is None else round(value, 4) for value in sample.advantages),
        }
        return cls(sample.file, sample.stored, tuple(row.problem_id for row in rows), columns)


@dataclass
class Index:
    """Columns of all kept rollouts of a run, in the order of its files."""

    files: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    problems: dict[str, int] = field(default_factory=dict[str, int])
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in COLUMNS})

    def add(self, listed: Listed) -> None:
        """Append one file's rollouts."""
        file, kept = listed.file, len(listed.problems)
        self.files.append({"name": file.name, "step": file.step, "split": file.split or "train", "stored": listed.stored, "kept": kept})
        self.columns["problem"].extend(self.problems.setdefault(problem, len(self.problems)) for problem in listed.problems)
        for name, values in listed.columns.items():
            self.columns[name].extend(values)

    def to_json(self) -> dict[str, Any]:
        """Convert to the JSON object that the page reads."""
        return {"files": self.files, "problems": list(self.problems), "outcomes": OUTCOMES, "piece": PIECE, **self.columns}


COLUMNS = ("problem", "prompt", "sample", "outcome", "reward", "tokens", "advantage")
OUTCOMES = [outcome.value for outcome in Outcome]
PIECE = 100
"""Number of rollouts whose texts are loaded together, so that viewing one does not load a whole evaluation."""


def piece_name(file: str, start: int) -> str:
    """Name the piece of a file that begins at rollout `start`, as the page requests it: ``step_12``, ``test_60+100``."""
    return f"{file}+{start}" if start else file


def pieces(sample: Sample) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the name and texts of every piece of a file."""
    for start in range(0, len(sample.rows), PIECE):
        yield piece_name(sample.file.name, start), texts(sample.rows[start : start + PIECE])


def texts(rows: Iterable[RolloutRow]) -> list[dict[str, Any]]:
    """Extract the texts, which are loaded only when a rollout is viewed."""
    return [_text(row) for row in rows]


def _text(row: RolloutRow) -> dict[str, Any]:
    return {
        "question": row.question,
        "answer": row.answer,
        "turns": list(row.turns),
        "heard": [_heard(observations) for observations in row.heard],
        **({"opening": _heard(row.opening)} if row.opening else {}),
        **({} if row.submitted is None else {"submitted": row.submitted}),
        "lengths": _per_turn(row.lengths, len(row.turns)),
        "surprisals": _per_turn(row.surprisals, len(row.turns)),
        "stop": row.stop_reason,
        "error": row.error,
    }


def _heard(observations: Iterable[Observation]) -> list[dict[str, Any]]:
    return [{"tool": observation.tool, "text": observation.text} for observation in observations]


def _per_turn(values: Sequence[Sequence[int]], turns: int) -> list[list[int]]:
    """Return a list for each turn, empty if the run is older than the column or its engine has no tokens."""
    return [list(turn_values) for turn_values in values] if len(values) == turns else [[] for _ in range(turns)]
