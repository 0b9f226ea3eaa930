"""Rows of `metrics.jsonl`, `timing.jsonl` and `evaluations.jsonl`: each type encodes and parses its own lines.

Every version has written the fields without a default. Rows are written with `RunDir.append`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from espl_bench.accounting.usage import LedgerTotals
from espl_bench.runs.run_dir import Log, RunDir
from espl_bench.types import Outcome, Split
from espl_bench.utils.validation import parse_row

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""Row configuration: a number in quotation marks is an error, and so is one that is not finite, and an unknown field."""

Shares = Mapping[Outcome, float]


@dataclass(frozen=True, slots=True)
class MetricsRow:
    """Numbers of one iteration that depend on the configuration alone."""

    __pydantic_config__ = STRICT

    step: int
    """Iterations finished, this one included."""
    reward: float
    """Mean over the rollouts that could be graded; 0 without any."""
    rewards: Mapping[int, float]
    """Prompt → its mean reward."""
    outcomes: Shares
    """Share of each outcome that occurred."""
    population: int
    """Prompts alive."""
    shown: int
    """Id of the prompt that an evaluation would show."""
    generated_tokens: int
    """Sampled in this iteration's rollouts."""
    train: Mapping[str, float | None]
    """Metrics of the engine's training step; empty for a method that does not train. None: not a finite number."""
    tools: Mapping[str, float] = field(default_factory=dict[str, float])
    """Shares of `rollouts.tool_use`; not written without tools, and absent from rows older than the field."""

    def encode(self) -> dict[str, Any]:
        """Return the JSON object of the row's line."""
        return {
            "step": self.step,
            "reward": self.reward,
            "rewards": {str(prompt): mean for prompt, mean in self.rewards.items()},
            "outcomes": _plain(self.outcomes),
            "population": self.population,
            "shown": self.shown,
            "generated_tokens": self.generated_tokens,
            "train": dict(self.train),
            **({"tools": dict(self.tools)} if self.tools else {}),
        }

    @classmethod
    def parse(cls, line: bytes) -> "MetricsRow":
        """Read one line. Raises InvalidRowError."""
        return parse_row(_METRICS, line)


@dataclass(frozen=True, slots=True)
class TimingRow:
    """Duration of one iteration."""

    __pydantic_config__ = STRICT

    step: int
    seconds: float
    tokens_per_second: float
    """Sampled tokens, reflections included."""

    def encode(self) -> dict[str, Any]:
        """Return the JSON object of the row's line."""
        return asdict(self)

    @classmethod
    def parse(cls, line: bytes) -> "TimingRow":
        """Read one line. Raises InvalidRowError."""
        return parse_row(_TIMING, line)


@dataclass(frozen=True, slots=True)
class LearningCost:
    """Counts of the ledger at an evaluation; the seconds are in the timing log."""

    __pydantic_config__ = STRICT

    rollouts: int
    generated_tokens: int
    reflection_tokens: int
    train_tokens: int
    prompt_tokens: int = 0
    """0 in rows older than the field."""
    reflection_prompt_tokens: int = 0
    """0 in rows older than the field."""

    @classmethod
    def of(cls, totals: LedgerTotals) -> "LearningCost":
        """Take the counts of a ledger, without those of evaluations."""
        return cls(
            rollouts=totals.rollouts,
            generated_tokens=totals.generated_tokens,
            reflection_tokens=totals.reflection_tokens,
            train_tokens=totals.train_tokens,
            prompt_tokens=totals.prompt_tokens,
            reflection_prompt_tokens=totals.reflection_prompt_tokens,
        )


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One evaluation of a split."""

    __pydantic_config__ = STRICT

    step: int
    """Iterations finished before the evaluation."""
    split: Split
    score: float
    """Mean reward, 0..1."""
    prompt_id: int
    """Id of the shown prompt."""
    outcomes: Shares
    """Share of each outcome that occurred."""
    spent: LearningCost | None = None
    """None in rows older than the field."""
    measures: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    """Further numbers from the environment, means over samples; not written if empty. None: not a finite number."""
    tools: Mapping[str, float] = field(default_factory=dict[str, float])
    """Shares of `rollouts.tool_use`; not written without tools, and absent from rows older than the field."""
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    """Score of each of the environment's parts; not written if it has none."""

    def encode(self) -> dict[str, Any]:
        """Return the JSON object of the row's line."""
        return {
            "step": self.step,
            "split": self.split.value,
            "score": self.score,
            "prompt_id": self.prompt_id,
            "outcomes": _plain(self.outcomes),
            **({"spent": asdict(self.spent)} if self.spent else {}),
            **({"measures": dict(self.measures)} if self.measures else {}),
            **({"tools": dict(self.tools)} if self.tools else {}),
            **({"parts": dict(self.parts)} if self.parts else {}),
        }

    @classmethod
    def parse(cls, line: bytes) -> "EvaluationRow":
        """Read one line. Raises InvalidRowError."""
        return parse_row(_EVALUATION, line)


def read_metrics(run: RunDir) -> list[MetricsRow]:
    """Read one row per iteration. Raises RunDirError naming the damaged line."""
    return run.read_log(Log.METRICS, MetricsRow.parse)


def read_timing(run: RunDir) -> list[TimingRow]:
    """Read one row per iteration. Raises RunDirError naming the damaged line."""
    return run.read_log(Log.TIMING, TimingRow.parse)


def read_evaluations(run: RunDir) -> list[EvaluationRow]:
    """Read the rows in the order of the evaluations. Raises RunDirError naming the damaged line."""
    return run.read_log(Log.EVALUATIONS, EvaluationRow.parse)


def _plain(outcomes: Shares) -> dict[str, float]:
    return {outcome.value: share for outcome, share in outcomes.items()}


_METRICS = TypeAdapter(MetricsRow)
_TIMING = TypeAdapter(TimingRow)
_EVALUATION = TypeAdapter(EvaluationRow)
