"""Rows of rollout files: one line per rollout, with everything needed to read it, even token by token, and to replay it.

The recorder writes them; reports and `show` read them with `RunDir.read_rollouts`, `verify` with `read_stored`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from espl_bench.types import (
    Completion,
    Limit,
    Observation,
    Outcome,
    StopReason,
    Trajectory,
    TrajectoryGroup,
)
from espl_bench.utils import foreign_files
from espl_bench.utils.jsonl import InvalidRowError
from espl_bench.utils.validation import parse_row

IMPROBABLE = 99_999
"""Surprisal of a token whose log-probability is not a finite number."""


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout. Fields with a default are missing in older rows, or if they would be empty."""

    # Not strict: a user's environment may return a number as an answer, or True as a reward.
    __pydantic_config__ = ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)

    problem_id: str
    question: str
    answer: str
    prompt_id: int
    slot: int
    """Index among the groups of this problem and prompt in one iteration."""
    sample: int
    """Index among its group's rollouts."""
    turns: tuple[str, ...]
    """The policy's texts, turn by turn; empty if the environment could not begin."""
    reward: float
    outcome: Outcome
    stop_reason: StopReason | None
    """How the last turn ended; None without a turn."""
    generated_tokens: int
    error: str | None
    lengths: tuple[tuple[int, ...], ...] = ()
    """Characters of each token, turn by turn; empty if unknown."""
    surprisals: tuple[tuple[int, ...], ...] = ()
    """-log p of each token in hundredths of a nat, turn by turn; empty if unknown."""
    heard: tuple[tuple[Observation, ...], ...] = ()
    """Replies to each turn but the last."""
    segments: int = 1
    """Number of token sequences; more than one if the chat template could not be extended."""
    limit: Limit | None = None
    """The limit that ended it, if one did."""
    measures: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    """Further numbers from the environment. None: not a finite number."""
    opening: tuple[Observation, ...] = ()
    """What an agent said before the first turn; empty if that was the question alone."""
    submitted: str | None = None
    """What an agent handed in. None: no agent played, or it handed in nothing."""

    @classmethod
    def of(cls, trajectory: Trajectory, slot: int) -> "RolloutRow":
        """Convert one rollout."""
        turns = trajectory.turns
        return cls(
            problem_id=trajectory.problem.id,
            question=trajectory.problem.question,
            answer=trajectory.problem.answer,
            prompt_id=trajectory.prompt_id,
            slot=slot,
            sample=trajectory.sample,
            turns=tuple(turn.completion.text for turn in turns),
            reward=trajectory.reward,
            outcome=trajectory.outcome,
            stop_reason=turns[-1].completion.stop_reason if turns else None,
            generated_tokens=trajectory.generated_tokens,
            error=trajectory.error,
            lengths=tuple(turn.completion.lengths_T for turn in turns),
            surprisals=tuple(_surprisals(turn.completion) for turn in turns),
            heard=tuple(turn.observations for turn in turns[1:]),
            segments=len(trajectory.segments) if len(turns) > 1 else 1,
            limit=trajectory.limit,
            measures=trajectory.measures,
            opening=turns[0].observations if turns else (),
            submitted=trajectory.submitted,
        )

    def before(self, turn: int) -> tuple[Observation, ...]:
        """Return what the policy was told before a turn, besides prompt and question."""
        if turn == 0:
            return self.opening
        return self.heard[turn - 1] if turn <= len(self.heard) else ()

    def encode(self) -> dict[str, Any]:
        """Return the JSON object of the row's line."""
        row: dict[str, Any] = {
            "problem_id": self.problem_id,
            "question": self.question,
            "answer": self.answer,
            "prompt_id": self.prompt_id,
            "slot": self.slot,
            "sample": self.sample,
            "turns": self.turns,
            "lengths": self.lengths,
            "surprisals": self.surprisals,
            "reward": self.reward,
            "outcome": self.outcome.value,
            "stop_reason": self.stop_reason.value if self.stop_reason else None,
            "generated_tokens": self.generated_tokens,
            "error": self.error,
        }
        if self.limit is not None:
            row["limit"] = self.limit.value
        if self.measures:
            row["measures"] = dict(self.measures)
        if len(self.turns) > 1:
            row["heard"] = [_heard(observations) for observations in self.heard]
            row["segments"] = self.segments
        if self.opening:
            row["opening"] = _heard(self.opening)
        if self.submitted is not None:
            row["submitted"] = self.submitted
        return row

    @classmethod
    def parse(cls, line: bytes) -> "RolloutRow":
        """Read one line. Raises InvalidRowError."""
        return parse_row(_ADAPTER, line)


def _heard(observations: Sequence[Observation]) -> list[dict[str, str | None]]:
    return [{"tool": observation.tool, "text": observation.text} for observation in observations]


_ADAPTER = TypeAdapter(RolloutRow)


def read_stored(path: Path, inside: Path | None = None) -> Iterator[RolloutRow | InvalidRowError]:
    """Yield the rows of a file, in order, or why a line cannot be used. Raises OSError if the file cannot be read."""
    with foreign_files.open_file(path, inside) as file:
        for line in file:
            try:
                row = RolloutRow.parse(line)
            except InvalidRowError as fault:
                yield fault
            else:
                yield row if line.endswith(b"\n") else InvalidRowError("not written to its end")


def rollout_rows(groups_KP: Sequence[TrajectoryGroup]) -> list[RolloutRow]:
    """Convert the rollouts of an iteration or an evaluation."""
    seen: dict[tuple[int, str], int] = {}
    rows: list[RolloutRow] = []
    for group in groups_KP:
        slot = seen.setdefault((group.prompt_id, group.problem.id), 0)
        seen[group.prompt_id, group.problem.id] += 1
        rows.extend(RolloutRow.of(trajectory, slot) for trajectory in group.trajectories_G)
    return rows


def _surprisals(completion: Completion) -> tuple[int, ...]:
    """Round to hundredths of a nat: precise enough to look at, and half as long as the full numbers."""
    return tuple(round(-100 * logprob) if math.isfinite(logprob) else IMPROBABLE for logprob in completion.logprobs_T)
