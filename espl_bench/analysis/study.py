"""Read everything under some paths for viewing: finished runs for tables, run directories for their histories."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from espl_bench.config.run_config import model_name
from espl_bench.errors import EsplError, NoRunsError
from espl_bench.leaderboard.collect import DEPTH, collect
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.leaderboard.rows import RowRun
from espl_bench.runs.log_rows import MetricsRow, TimingRow
from espl_bench.runs.population_events import PopulationEvent
from espl_bench.runs.run_dir import CONFIG, SUMMARY, Log, RunDir
from espl_bench.runs.summary import Summary, environment_name
from espl_bench.runs.view import RunView, read_logs, view_of
from espl_bench.utils import foreign_files


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Run directory, finished or not."""

    run: RunDir
    label: str
    """Row of the tables."""
    view: RunView
    metrics: tuple[MetricsRow, ...]
    """One row per iteration."""
    timing: tuple[TimingRow, ...]
    events: tuple[PopulationEvent, ...]
    """Log of the population."""

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.run.path.resolve().name


@dataclass(frozen=True, slots=True)
class Study:
    """Input of a report or a picture."""

    entries: tuple[GroupEntry, ...]
    """Finished runs, including those with a summary only."""
    records: tuple[RunRecord, ...]
    """Sorted by label, then by seed."""
    unreadable: tuple[str, ...]
    """Run directories that cannot be read, one line each; a run that is being written may be among them."""

    def without(self, record: RunRecord, reason: EsplError) -> "Study":
        """Return the study without a run that turned out to be damaged."""
        summary = record.view.summary
        entries = (entry for entry in self.entries if summary is None or not _same_result(entry.summary, summary))
        others = tuple(other for other in self.records if other is not record)
        return Study(tuple(entries), others, (*self.unreadable, str(reason)))

    @property
    def named(self) -> dict[str, RunRecord]:
        """Records by unique name: the folder's, numbered if taken. Runs added later do not change earlier names."""
        records: dict[str, RunRecord] = {}
        met: Counter[str] = Counter()
        for record in self.records:
            name = record.name
            met[name] += 1
            records[name if met[name] == 1 else f"{name}~{met[name]}"] = record
        return records


def _same_result(one: Summary, other: Summary) -> bool:
    return (one.run_id, one.sample_scores) == (other.run_id, other.sample_scores)


def by_row(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Group runs by row, in the order of labels; of several environments or models each has rows of its own."""
    listed = list(records)
    several = len({_test_of(record) for record in listed}) > 1
    rows: dict[str, list[RunRecord]] = {}
    for record in listed:
        rows.setdefault(f"{record.label}, {_test_of(record)}" if several else record.label, []).append(record)
    return dict(sorted(rows.items()))


def _test_of(record: RunRecord) -> str:
    config = record.view.config
    return f"{environment_name(config.env, config.env_options)} · {model_name(config.model)}"


Stamp = tuple[tuple[int, int], ...]
"""Time and size of each file of a record; equal if nothing was written since."""
Known = dict[Path, tuple[Stamp, RunRecord]]
"""Cache of records, kept between calls."""


def gather(paths: Sequence[Path], known: Known | None = None) -> Study:
    """Read everything under the paths; unchanged runs are taken from `known`.

    So are runs that cannot be read now but could be before: an active run may be in the middle of writing a line.
    Raises NoRunsError for a path without runs, and RunDirError if none of its runs can be read.
    """
    records: list[RunRecord] = []
    damaged: dict[Path, EsplError] = {}
    for folder in run_folders(paths):
        try:
            records.append(_read_anew(folder, {} if known is None else known))
        except EsplError as error:
            if known and folder in known:
                records.append(known[folder][1])
            else:
                damaged[folder] = error
    running = {record.run.path: RowRun.unfinished(record.view.config) for record in records if record.view.summary is None}
    runs = collect(paths, running, without=damaged)
    unreadable = (*map(str, damaged.values()), *runs.unreadable)
    if not runs.entries and not records:
        if damaged:
            raise next(iter(damaged.values()))
        raise NoRunsError(unreadable[0] if unreadable else f"{paths[0]} holds no run that has begun; start one with espl-bench run")
    labelled = [_called(record, runs.labels.get(record.run.path.resolve(), record.label), known) for record in records]
    ordered = sorted(labelled, key=lambda record: (record.label, record.view.config.seed, record.name))
    return Study(runs.entries, tuple(ordered), tuple(dict.fromkeys(unreadable)))


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """List the run directories at the paths and as deep below as tables search, each once."""
    return list({folder.resolve(): folder for path in paths for folder in _below(path)}.values())


def _below(path: Path) -> Iterator[Path]:
    start = path.parent if path.name == SUMMARY and path.is_file() else path
    if start.is_dir():  # what is not entered, `collect` tells
        for folders in foreign_files.folders_below(start, DEPTH, lambda folder, why: None):
            yield from (folder for folder in folders if foreign_files.exists(folder / CONFIG))


def stamp(folder: Path) -> Stamp:
    """Compute the stamp of a folder. A missing file counts as empty."""
    files = (folder / CONFIG, folder / SUMMARY, *(log.path(folder) for log in Log))
    stats = map(foreign_files.status, files)
    return tuple((stat.st_mtime_ns, stat.st_size) if stat else (0, 0) for stat in stats)


def _read_anew(folder: Path, known: Known) -> RunRecord:
    """Return the record in `known`, or read the run if something was written since."""
    now = stamp(folder)
    before = known.get(folder)
    if before and before[0] == now:
        return before[1]
    record = read_record(RunDir.open(folder))
    known[folder] = now, record
    return record


def _called(record: RunRecord, label: str, known: Known | None) -> RunRecord:
    """Return the record under a label, the same object if it has it already."""
    if record.label == label:
        return record
    renamed = replace(record, label=label)
    if known is not None and record.run.path in known:
        known[record.run.path] = known[record.run.path][0], renamed
    return renamed


def read_record(run: RunDir) -> RunRecord:
    """Read one run. It is labelled as if it were alone."""
    logs = read_logs(run)
    view = view_of(run, logs)
    return RunRecord(run=run, label=view.config.row, view=view, metrics=logs.metrics, timing=logs.timing, events=logs.events)
