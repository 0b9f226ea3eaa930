"""Write the final test of a run as a log of inspect: one JSON document of its format, version 2, which `inspect view` opens.

A rollout is a sample: the problem is its id, and the number of the rollout its epoch. The score ``reward`` is the reward. A rollout whose
grading failed is a sample with an error, and without a score.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from espl_bench.build import dialect_of
from espl_bench.controls import find_control
from espl_bench.runs.rollout_rows import RolloutRow
from espl_bench.runs.run_dir import RunDir
from espl_bench.scores.inspect_log import OURS
from espl_bench.stats import mean_interval
from espl_bench.types import Limit, Message, Split, StopReason

VERSION: Final = 2
"""Version of inspect's format."""
SCORER: Final = "reward"
STOPS: Final[Mapping[StopReason | None, str]] = {
    StopReason.STOP: "stop",
    StopReason.LENGTH: "max_tokens",
    StopReason.FILTERED: "content_filter",
    None: "unknown",
}


@dataclass(frozen=True)
class InspectLog:
    """A run's final test, as inspect describes an evaluation."""

    run: RunDir

    def document(self) -> dict[str, Any]:
        """Return the log as JSON values. Raises RunDirError for a run that is unfinished, or whose rollouts are damaged."""
        summary, config = self.run.summary(), self.run.config()
        rows = self.run.read_rollouts(summary.steps, RolloutRow.parse, Split.TEST)
        created = (self.run.provenance.started() or datetime.fromtimestamp(0, UTC)).astimezone(UTC).isoformat()
        return {
            "version": VERSION,
            "status": "success",
            "eval": {
                "eval_id": summary.run_id,
                "run_id": summary.run_id,
                "created": created,
                "task": summary.environment,
                "task_id": summary.environment,
                "task_version": 0,
                "dataset": {"name": summary.env, "samples": summary.n_items},
                "model": summary.model,
                "config": {"epochs": summary.k},
                "metadata": {
                    "written_by": OURS,
                    "method": summary.row,
                    "seed": summary.seed,
                    "steps": summary.steps,
                    "data_identity": summary.data_identity,
                    "principles": list(summary.shown_prompt),
                },
                "model_generate_config": {
                    "temperature": config.sampling.temperature,
                    "top_p": config.sampling.top_p,
                    "max_tokens": config.sampling.max_tokens,
                },
            },
            "results": self._results(rows),
            "samples": list(self._samples(rows)),
        }

    def _results(self, rows: Sequence[RolloutRow]) -> dict[str, Any]:
        summary = self.run.summary()
        low, high = mean_interval([[sum(item) / len(item) for item in summary.sample_scores]])
        metrics = {"mean": summary.score, "ci95_low": low, "ci95_high": high}
        graded = sum(row.outcome.graded for row in rows)
        score = {
            "name": SCORER,
            "scorer": SCORER,
            "reducer": "mean",
            "scored_samples": graded,
            "unscored_samples": len(rows) - graded,
            "metrics": {name: {"name": name, "value": value} for name, value in metrics.items()},
        }
        return {"total_samples": len(rows), "completed_samples": graded, "scores": [score]}

    def _samples(self, rows: Sequence[RolloutRow]) -> Iterator[dict[str, Any]]:
        summary, config = self.run.summary(), self.run.config()
        dialect = dialect_of(config)
        principles = find_control(config.control).principles(summary.shown_prompt, dialect)
        for row in rows:
            opening = dialect.prompt_messages(principles, row.question, config.prompts.placement)
            yield self._sample(row, opening, summary.model)

    def _sample(self, row: RolloutRow, opening: Sequence[Message], model: str) -> dict[str, Any]:
        said = row.turns[-1] if row.turns else ""
        graded = said if row.submitted is None else row.submitted
        sample: dict[str, Any] = {
            "id": row.problem_id,
            "epoch": row.sample + 1,
            "input": row.question,
            "target": row.answer,
            "messages": [*({"role": each.role, "content": each.content} for each in opening), *_turns(row, model)],
            "output": {
                "model": model,
                "choices": [
                    {"message": {"role": "assistant", "content": said, "model": model, "source": "generate"}, "stop_reason": _stop(row)}
                ],
            },
            "metadata": {"outcome": row.outcome.value, "generated_tokens": row.generated_tokens, **_measures(row)},
        }
        if row.outcome.graded:
            sample["scores"] = {SCORER: {"value": row.reward, "answer": graded, "explanation": row.outcome.value}}
        else:
            fault = row.error or row.outcome.value
            sample["error"] = {"message": fault, "traceback": fault, "traceback_ansi": fault}
        return sample


def _turns(row: RolloutRow, model: str) -> Iterator[dict[str, Any]]:
    """Yield what was said, and between turns what the environment replied."""
    for index, said in enumerate(row.turns):
        for reply in row.before(index):
            yield {"role": "user", "content": reply.text if reply.tool is None else f"{reply.tool}: {reply.text}"}
        yield {"role": "assistant", "content": said, "model": model, "source": "generate"}


def _stop(row: RolloutRow) -> str:
    return "model_length" if row.limit is Limit.TOKENS else STOPS[row.stop_reason]


def _measures(row: RolloutRow) -> dict[str, Any]:
    return {"measures": dict(row.measures)} if row.measures else {}


def to_inspect(run: RunDir) -> str:
    """Write the log. Raises RunDirError, or TemplateError if the run's dialect is no longer there."""
    return json.dumps(InspectLog(run).document(), indent=1, ensure_ascii=False) + "\n"
