"""Find the runs for a table: summary files, published results, run directories, or folders of these.

A summary of an earlier version does not state its choices: they are read from the configuration beside it, or in the published result.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espl_bench.config.choices import choices_in
from espl_bench.errors import EsplError, NoRunsError
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.leaderboard.rows import RowLabel, RowRun, label_rows
from espl_bench.runs.published import SUFFIX, PublishedResult, read_result
from espl_bench.runs.run_dir import CONFIG, PROVENANCE, SUMMARY
from espl_bench.runs.summary import Summary, read_summary
from espl_bench.utils import foreign_files
from espl_bench.utils.foreign_json import parse_object

NONE_BESIDE: Mapping[Path, RowRun] = {}
DEPTH = 2
"""Levels below a named directory that are searched for runs."""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """Runs found under the given paths."""

    entries: tuple[GroupEntry, ...]
    unfinished: tuple[Path, ...]
    """Run directories without a summary; they appear in no row."""
    unreadable: tuple[str, ...] = ()
    """Damaged results, and folders that were not entered, one line each."""
    places: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Id of a finished run → its directory or file."""
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


def collect(paths: Sequence[Path], beside: Mapping[Path, RowRun] = NONE_BESIDE, without: Collection[Path] = ()) -> FoundRun:
    """Collect every finished run under the paths, each once; of damaged ones, only why they are left out.

    Args:
        paths: runs, files, or folders of these.
        beside: unfinished runs by directory, whose rows are labelled together with those of the finished ones.
        without: run directories to leave out.

    Raises NoRunsError for a path without runs, and RunDirError if no run under any path can be read.
    """
    files: dict[Path, Path] = {}
    unfinished: dict[Path, Path] = {}
    left_out: list[str] = []
    for path in paths:
        found = _look(path)
        if not found.summaries and not found.begun:
            hint = "; ".join(found.left_out) or f"no {SUMMARY} there or two levels below"
            raise NoRunsError(f"{path} holds no run ({hint}); name a run or a folder of runs")
        files.update({_place(file): file for file in found.summaries})
        unfinished.update({_place(folder): folder for folder in found.begun})
        left_out += found.left_out
    ignored = set(map(_place, without))
    files = {place: file for place, file in files.items() if place.parent not in ignored}
    unfinished = {place: folder for place, folder in unfinished.items() if place not in ignored}
    runs, damaged = _read_all(files.values())
    if damaged and not runs and not unfinished and not beside:
        raise damaged[0]
    distinct = _distinct(runs)
    rows = {**{key: RowRun.of(run.summary, run.location) for key, run in distinct.items()}, **beside}
    labels = dict(zip(rows, label_rows(list(rows.values())), strict=True))
    entries = tuple(_entry(run.summary, labels[key]) for key, run in distinct.items())
    of_folders = {run.location.resolve(): labels[run.summary.to_json()].text for run in runs}
    unreadable = (*dict.fromkeys(left_out), *map(str, damaged))
    places = {run.summary.run_id: run.location for run in runs}
    of_beside = {folder.resolve(): labels[folder].text for folder in beside}
    return FoundRun(entries, tuple(unfinished.values()), unreadable, places, {**of_folders, **of_beside})


def holds_runs(path: Path) -> bool:
    """Return whether a path holds a run, finished or not."""
    try:
        found = _look(path)
    except NoRunsError:
        return False
    return bool(found.summaries or found.begun)


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
        return choices_in(parse_object(foreign_files.read_record(config)))
    except (OSError, ValueError):
        return None


def _place(path: Path) -> Path:
    """Return the one path of a run's folder or file, which is not followed if it is a link itself."""
    return path.parent.resolve() / path.name if path.name else path.resolve()


def _read_all(files: Iterable[Path]) -> tuple[list[_CollectedRun], list[EsplError]]:
    """Read every result, or why it cannot be."""
    runs: list[_CollectedRun] = []
    damaged: list[EsplError] = []
    for file in files:
        try:
            runs.append(_CollectedRun(read_run(file), file))
        except EsplError as error:
            damaged.append(error)
    return runs, damaged


@dataclass(frozen=True, slots=True)
class _Found:
    summaries: list[Path]
    begun: list[Path]
    """Run directories without a summary."""
    left_out: list[str]
    """Folders that were not entered, with the reason."""


def _look(path: Path) -> _Found:
    """List what is at or under a path."""
    if path.is_file():
        return _Found([path.resolve() if path.is_symlink() else path], [], [])
    if not path.is_dir():
        raise NoRunsError(f"{path} does not exist; name a run directory, a {SUMMARY} or a folder of runs")
    left_out: list[str] = []
    levels = list(foreign_files.folders_below(path, DEPTH, lambda folder, why: left_out.append(f"{folder}: {why}")))
    summaries: list[Path] = []
    for folders in levels:
        summaries += [folder / SUMMARY for folder in folders if foreign_files.exists(folder / SUMMARY)]
        summaries += sorted(file for folder in folders for file in foreign_files.files_named(folder, SUFFIX))
    finished = {file.parent for file in summaries}
    begun = [folder for folders in levels for folder in folders if foreign_files.exists(folder / PROVENANCE)]
    return _Found(summaries, [folder for folder in begun if folder not in finished], left_out)


def _distinct(runs: Iterable[_CollectedRun]) -> dict[str, _CollectedRun]:
    """Return the runs by content, so that copies of a summary (same run id and content) count once."""
    distinct: dict[str, _CollectedRun] = {}
    for run in runs:
        distinct.setdefault(run.summary.to_json(), run)
    return distinct
