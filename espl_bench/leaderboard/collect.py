"""Find the runs for a table: summary files, published results, run directories, or folders of these.

A summary of an earlier version does not state its choices: they are read from the configuration beside it, or in the published result.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from espl_bench.config.choices import choices_in
from espl_bench.errors import RunDirError
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.leaderboard.rows import RowLabel, RowRun, label_rows
from espl_bench.runs.published import SUFFIX, PublishedResult, read_result
from espl_bench.runs.run_dir import CONFIG, PROVENANCE, SUMMARY
from espl_bench.runs.summary import Summary, read_summary

NONE_BESIDE: Mapping[Path, RowRun] = {}
LEVELS = ("", "*/", "*/*/")
"""Levels below a named directory that are searched for runs."""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """Runs found under the given paths."""

    entries: tuple[GroupEntry, ...]
    unfinished: tuple[Path, ...]
    """Run directories without a summary; they appear in no row."""
    labels: Mapping[Path, str] = field(default_factory=dict[Path, str])
    """Run directory, resolved → label of its row, for finished runs and those that were to be labelled beside them."""


@dataclass(frozen=True, slots=True)
class _CollectedRun:
    summary: Summary
    path: Path

    @property
    def location(self) -> Path:
        """Return the run's directory, or the file of a published result or of a summary that was renamed."""
        return self.path.parent if self.path.name == SUMMARY else self.path


def collect(paths: Sequence[Path], beside: Mapping[Path, RowRun] = NONE_BESIDE) -> FoundRun:
    """Collect every finished run under the paths, each once. Raises RunDirError for a path without runs.

    Args:
        paths: runs, files, or folders of these.
        beside: unfinished runs by directory, whose rows are labelled together with those of the finished ones.
    """
    files: dict[Path, Path] = {}
    unfinished: dict[Path, Path] = {}
    for path in paths:
        summaries, without = _look(path)
        if not summaries and not without:
            raise RunDirError(f"{path} holds no run (no {SUMMARY} there or two levels below); name a run or a folder of runs")
        files.update({file.resolve(): file for file in summaries})
        unfinished.update({folder.resolve(): folder for folder in without})
    runs = [_CollectedRun(read_run(file), file) for file in files.values()]
    distinct = _distinct(runs)
    rows = {**{key: RowRun.of(run.summary, run.location) for key, run in distinct.items()}, **beside}
    labels = dict(zip(rows, label_rows(list(rows.values())), strict=True))
    entries = tuple(_entry(run.summary, labels[key]) for key, run in distinct.items())
    of_folders = {run.location.resolve(): labels[run.summary.to_json()].text for run in runs}
    return FoundRun(entries, tuple(unfinished.values()), {**of_folders, **{folder.resolve(): labels[folder].text for folder in beside}})


def entries_of(summaries: Sequence[Summary]) -> tuple[GroupEntry, ...]:
    """Label runs that were not read from files."""
    return tuple(map(_entry, summaries, label_rows(list(map(RowRun.of, summaries)))))


def _entry(summary: Summary, label: RowLabel) -> GroupEntry:
    return GroupEntry(label.text, summary, label.name, label.configuration)


def read_run(file: Path) -> Summary:
    """Read a summary or a published result, with the choices of the run if they are known. Raises RunDirError naming the file."""
    if file.name.endswith(SUFFIX):
        return stated(read_result(file))
    summary = read_summary(file)
    return summary if summary.choices is not None else summary.model_copy(update={"choices": _beside(file.with_name(CONFIG))})


def stated(result: PublishedResult) -> Summary:
    """Return the summary of a published result with its choices."""
    summary = result.summary
    return summary if summary.choices is not None else summary.model_copy(update={"choices": choices_in(result.config)})


def _beside(config: Path) -> dict[str, object] | None:
    """Read the choices of a configuration; None if there is none, or this version cannot read it."""
    try:
        record = json.loads(config.read_bytes())
    except (OSError, ValueError):
        return None
    return choices_in(cast(dict[str, object], record)) if isinstance(record, dict) else None


def _look(path: Path) -> tuple[list[Path], list[Path]]:
    """List the summary files, and the run directories without one, at or under a path."""
    if path.is_file():
        return [path], []
    if not path.is_dir():
        raise RunDirError(f"{path} does not exist; name a run directory, a {SUMMARY} or a folder of runs")
    summaries = [file for level in LEVELS for name in (SUMMARY, f"*{SUFFIX}") for file in sorted(path.glob(level + name))]
    finished = {file.parent for file in summaries}
    begun = [file.parent for level in LEVELS for file in sorted(path.glob(level + PROVENANCE))]
    return summaries, [folder for folder in begun if folder not in finished]


def _distinct(runs: Iterable[_CollectedRun]) -> dict[str, _CollectedRun]:
    """Return the runs by content, so that copies of a summary (same run id and content) count once."""
    distinct: dict[str, _CollectedRun] = {}
    for run in runs:
        distinct.setdefault(run.summary.to_json(), run)
    return distinct
