"""Data of the page: one small document about all runs, and one per run that is loaded when the run is opened.

Everything here is plain data. Text by models and from the web is passed through unchanged, and the page shows it as text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from pydantic_core import to_jsonable_python

from espl_bench.analysis.prompt_length import words_over_time
from espl_bench.analysis.study import RunRecord, Study
from espl_bench.config.choices import without_folders
from espl_bench.config.run_config import model_name
from espl_bench.errors import EsplError
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.report.boards import boards
from espl_bench.report.prompt_pages import PromptPages
from espl_bench.report.run_state import state_of, written_at
from espl_bench.types import Split

SCHEMA = "espl-bench/report/2"
SHOWN_OF_GIT = ("commit", "dirty")
_FOLDERS = re.compile(r"(?<![\w.:/-])~?/(?:[^/\s=:;,'\"]+/)*(?=[^/\s])")
"""The folders of an absolute path."""
TRAIN_METRICS = ("loss", "grad_norm", "ratio_mean", "kl_sampler", "clip_fraction", "entropy")


def study_json(study: Study, tables: Mapping[str, Any] | None, title: str, live: bool) -> dict[str, Any]:
    """Make the page's first document; `tables` is the result of :func:`tables_json`."""
    return {
        "schema": SCHEMA,
        "title": title,
        "live": live,
        "boards": tables,
        "unreadable": _without_paths(list(study.unreadable)),
        "runs": [_header(name, record, live) for name, record in study.named.items()],
    }


def tables_json(entries: Sequence[GroupEntry]) -> dict[str, Any] | None:
    """Make the tables; None before the first run has finished, and the reason if runs cannot be compared."""
    if not entries:
        return None
    try:
        return boards(entries)
    except EsplError as error:
        return {"unknown": str(error), "tests": []}


def _header(name: str, record: RunRecord, live: bool) -> dict[str, Any]:
    """Make the entry of a run in the list of runs. When it was last written is of interest while it is followed, and not to a copy."""
    config, summary = record.view.config, record.view.summary
    return {
        "id": name,
        "name": name,
        "label": record.label,
        "method": config.method.name,
        "env": config.env,
        "env_options": config.env_options,
        "model": summary.model if summary else model_name(config.model),
        "seed": config.seed,
        "steps": record.view.steps,
        "iterations": config.iterations,
        "finished": summary is not None,
        "state": state_of(record),
        "written": written_at(record) if live else None,
        "score": summary.score if summary else None,
        "ci95": summary.ci95 if summary else None,
        "validation": next((row.score for row in reversed(record.view.evaluations) if row.split is Split.VALIDATION), None),
        "prompts": len(record.view.prompts),
        "warnings": record.view.warnings,
    }


def run_json(record: RunRecord) -> dict[str, Any]:
    """Make the document of one run, without its rollouts and its prompts, which come in pieces."""
    view = record.view
    return {
        "shown": view.shown_id,
        "rejected": dict(view.rejected),
        "progress": _progress(record),
        "prompts": PromptPages(record).index(),
        "card": {
            "config": without_folders(to_jsonable_python(view.config.flat())),
            "provenance": _provenance(record),
            "summary": _summary(record),
        },
    }


def _progress(record: RunRecord) -> dict[str, Any]:
    metrics = record.metrics
    words = words_over_time(record.view.prompts, metrics, record.view.config.method.population_size)
    return {
        "step": [row.step for row in metrics],
        "reward": [row.reward for row in metrics],
        "outcomes": [row.outcomes for row in metrics],
        "tools": [row.tools for row in metrics] if any(row.tools for row in metrics) else [],
        "train": {name: [row.train.get(name) for row in metrics] for name in TRAIN_METRICS},
        "speed": [row.tokens_per_second for row in record.timing],
        "words": [asdict(entry) for entry in words],
        "evaluations": [
            {
                "step": row.step,
                "split": row.split,
                "score": row.score,
                "prompt": row.prompt_id,
                "outcomes": row.outcomes,
                **({"tools": row.tools} if row.tools else {}),
            }
            for row in record.view.evaluations
        ],
    }


def _summary(record: RunRecord) -> dict[str, Any] | None:
    """Dump the summary without the fields that appear elsewhere on the page."""
    if record.view.summary is None:
        return None
    return record.view.summary.model_dump(mode="json", by_alias=True, exclude={"sample_scores", "curve", "shown_prompt", "env_options"})


def _provenance(record: RunRecord) -> Mapping[str, Any]:
    """Return where the numbers come from, without what is private: uncommitted changes and names of folders."""
    provenance = record.run.provenance.read()
    git = provenance.get("git")
    if isinstance(git, dict):
        provenance["git"] = {name: value for name, value in cast(dict[str, Any], git).items() if name in SHOWN_OF_GIT}
    return _without_paths(provenance)


def _without_paths(value: Any) -> Any:
    """Return the same JSON value with every absolute path in a text reduced to its last name."""
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in cast(list[Any], value)]
    return _FOLDERS.sub("", value) if isinstance(value, str) else value
