"""Find the runs for a table: summary files, published results, run directories, or folders of these."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from espl_bench.errors import RunDirError
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.runs.published import SUFFIX, read_result
from espl_bench.runs.run_dir import PROVENANCE, SUMMARY
from espl_bench.runs.summary import Summary, read_summary

LEVELS = ("", "*/", "*/*/")
"""Levels below a named directory that are searched for runs."""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """Runs found under the given paths."""

    entries: tuple[GroupEntry, ...]
    unfinished: tuple[Path, ...]
    """Run directories without a summary; they appear in no row."""


@dataclass(frozen=True, slots=True)
class _CollectedRun:
    summary: Summary
    path: Path


def collect(paths: Sequence[Path]) -> FoundRun:
    """Collect every finished run under the paths, each once. Raises RunDirError for a path without runs."""
    files: dict[Path, Path] = {}
    unfinished: dict[Path, Path] = {}
    for path in paths:
        summaries, without = _look(path)
        if not summaries and not without:
            raise RunDirError(f"{path} holds no run (no {SUMMARY} there or two levels below); name a run or a folder of runs")
        files.update({file.resolve(): file for file in summaries})
        unfinished.update({folder.resolve(): folder for folder in without})
    runs = [_CollectedRun(_read(file), file) for file in files.values()]
    return FoundRun(entries=_labelled(_distinct(runs)), unfinished=tuple(unfinished.values()))


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


def _read(file: Path) -> Summary:
    return read_result(file).summary if file.name.endswith(SUFFIX) else read_summary(file)


def _distinct(runs: Iterable[_CollectedRun]) -> list[_CollectedRun]:
    """Count copies of a summary (same run id and content) once."""
    distinct: dict[str, _CollectedRun] = {}
    for run in runs:
        distinct.setdefault(run.summary.to_json(), run)
    return list(distinct.values())


def _labelled(runs: Sequence[_CollectedRun]) -> tuple[GroupEntry, ...]:
    """Label each run with its method. If a method has a seed twice on one test, add the folder of runs to the label."""
    cells: dict[tuple[object, ...], int] = {}
    for run in runs:
        cells[_cell(run.summary)] = cells.get(_cell(run.summary), 0) + 1
    doubled = {run.summary.row for run in runs if cells[_cell(run.summary)] > 1}
    return tuple(
        GroupEntry(f"{run.summary.row} ({_folder(run.path)})" if run.summary.row in doubled else run.summary.row, run.summary)
        for run in runs
    )


def _cell(summary: Summary) -> tuple[object, ...]:
    return (summary.environment, summary.model, summary.k, summary.n_items, summary.row, summary.seed)


def _folder(path: Path) -> str:
    """Return the name of the folder that contains the run directory or the summary file."""
    run = path.parent if path.name == SUMMARY else path
    return run.resolve().parent.name
