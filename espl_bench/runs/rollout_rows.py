"""Stored rollouts read back: each line of a file as a typed row, or why it cannot be used. They are written by rollout.py."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espl_bench.types import (
    Completion,
    Limit,
    Observation,
    Outcome,
    StopReason,
    Trajectory,
    TrajectoryGroup,
)


class InvalidRowError(ValueError):
    """A line that is no stored rollout, and why, in a few words."""


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout as its line tells it."""

    problem_id: str
    question: str
    answer: str
    sample: int
    turns: tuple[str, ...]
    """What the policy said, turn by turn; nothing if the environment could not begin."""
    stop: StopReason
    """How the last turn ended."""
    reward: float
    outcome: Outcome
    error: str | None
    generated_tokens: int
    observations: tuple[tuple[Observation, ...], ...] = ()
    """What was replied to each turn but the last."""
    limit: Limit | None = None

    @classmethod
    def of(cls, line: bytes) -> "RolloutRow":
        """Raises InvalidRowError for a line that was damaged, cut off, or written by something else."""
        try:
            row: object = json.loads(line)
        except ValueError as error:
            raise InvalidRowError("not JSON") from error
        if not isinstance(row, dict):
            raise InvalidRowError("not a JSON object")
        if not line.endswith(b"\n"):
            raise InvalidRowError("not written to its end")
        try:
            return cls._typed(row)  # pyright: ignore[reportUnknownArgumentType]  (JSON's keys are strings)
        except KeyError as error:
            raise InvalidRowError(f"no column {error}") from error
        except (TypeError, ValueError) as error:
            raise InvalidRowError(str(error)) from error

    @classmethod
    def _typed(cls, row: Mapping[str, Any]) -> "RolloutRow":
        turns = row["turns"]
        if not isinstance(turns, list) or not all(isinstance(text, str) for text in turns):  # pyright: ignore[reportUnknownVariableType]
            raise TypeError("turns is no list of texts")
        return cls(
            problem_id=str(row["problem_id"]),
            question=str(row["question"]),
            answer=str(row["answer"]),
            sample=int(row["sample"]),
            turns=tuple(turns),  # pyright: ignore[reportUnknownArgumentType]
            stop=StopReason(row["stop_reason"]) if turns else StopReason.STOP,
            reward=float(row["reward"]),
            outcome=Outcome(row["outcome"]),
            error=row["error"],
            generated_tokens=int(row["generated_tokens"]),
            observations=tuple(tuple(Observation(str(each["text"]), each["tool"]) for each in turn) for turn in row.get("heard", ())),
            limit=Limit(row["limit"]) if "limit" in row else None,
        )


def read_stored(path: Path) -> Iterator[RolloutRow | InvalidRowError]:
    """The lines of a file, in order. Raises OSError if there is no such file, or it cannot be read."""
    with path.open("rb") as file:
        for line in file:
            try:
                yield RolloutRow.of(line)
            except InvalidRowError as fault:
                yield fault


IMPROBABLE = 99_999
"""Stands for the surprisal of a token whose log-probability is no finite number."""


def rollout_rows(groups_KP: Sequence[TrajectoryGroup]) -> list[dict[str, object]]:
    """The rollouts as they are stored: enough to read them, token by token too, and to replay them to the environment.

    ``lengths`` are characters of each token of a turn, ``surprisals`` its -log p in hundredths of a nat, both empty if unknown.
    """
    seen: dict[tuple[int, str], int] = {}
    rows: list[dict[str, object]] = []
    for group in groups_KP:
        slot = seen.setdefault((group.prompt_id, group.problem.id), 0)
        seen[group.prompt_id, group.problem.id] += 1
        rows.extend(
            {
                "problem_id": group.problem.id,
                "question": group.problem.question,
                "answer": group.problem.answer,
                "prompt_id": group.prompt_id,
                "slot": slot,
                "sample": trajectory.sample,
                "turns": [turn.completion.text for turn in trajectory.turns],
                "lengths": [turn.completion.lengths_T for turn in trajectory.turns],
                "surprisals": [_surprisals(turn.completion) for turn in trajectory.turns],
                "reward": trajectory.reward,
                "outcome": trajectory.outcome.value,
                "stop_reason": trajectory.turns[-1].completion.stop_reason.value if trajectory.turns else None,
                "generated_tokens": trajectory.generated_tokens,
                "error": trajectory.error,
                **_besides(trajectory),
            }
            for trajectory in group.trajectories_G
        )
    return rows


def _surprisals(completion: Completion) -> list[int]:
    """Hundredths are fine enough to look at, and half as long as the numbers themselves."""
    return [round(-100 * logprob) if math.isfinite(logprob) else IMPROBABLE for logprob in completion.logprobs_T]


def _besides(trajectory: Trajectory) -> dict[str, object]:
    """What a rollout may hold besides: what was heard before each turn, the segments, the limit that ended it, and measures."""
    found: dict[str, object] = {}
    if trajectory.limit is not None:
        found["limit"] = trajectory.limit.value
    if trajectory.measures:
        found["measures"] = dict(trajectory.measures)
    if len(trajectory.turns) > 1:
        found["heard"] = [[{"tool": each.tool, "text": each.text} for each in turn.observations] for turn in trajectory.turns[1:]]
        found["segments"] = len(trajectory.segments)
    return found
