"""Everything that lies under some paths, read for looking at: finished runs for tables, run directories for what happened inside."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espl_bench.errors import EsplError, RunDirError
from espl_bench.leaderboard.collect import LEVELS, collect
from espl_bench.leaderboard.grouping import GroupEntry
from espl_bench.runs.log_rows import MetricsRow, TimingRow, read_metrics, read_timing
from espl_bench.runs.population_events import PopulationEvent, read_events
from espl_bench.runs.run_dir import CONFIG, SUMMARY, Log, RunDir
from espl_bench.runs.view import RunView, read_view


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run directory, finished or not."""

    run: RunDir
    label: str
    """The row of the tables that it belongs to."""
    view: RunView
    metrics: tuple[MetricsRow, ...]
    """One row per iteration."""
    timing: tuple[TimingRow, ...]
    events: tuple[PopulationEvent, ...]
    """The population's log."""

    @property
    def name(self) -> str:
        """As its folder is called."""
        return self.run.path.resolve().name


@dataclass(frozen=True, slots=True)
class Study:
    """What a report or a picture is made of."""

    entries: tuple[GroupEntry, ...]
    """The finished runs, those of which only the summary is there included."""
    records: tuple[RunRecord, ...]
    """By label, then by seed."""
    unreadable: tuple[str, ...]
    """Run directories that are left out because they cannot be read, one line each; a run that is being written may be among them."""

    @property
    def named(self) -> dict[str, RunRecord]:
        """The records by a name of their own, which stays the same when other runs join behind: the folder's, numbered if it is taken."""
        found: dict[str, RunRecord] = {}
        for record in self.records:
            same = sum(other.name == record.name for other in found.values())
            found[f"{record.name}~{same + 1}" if same else record.name] = record
        return found


Stamp = tuple[tuple[int, int], ...]
"""Time and size of each file that a record is read from: equal as long as nothing was written."""
Known = dict[Path, tuple[Stamp, RunRecord]]
"""Records that were read before, to be kept between calls."""


def gather(paths: Sequence[Path], known: Known | None = None) -> Study:
    """Read everything under the paths; runs that have not changed since are taken from `known`.

    So are those that cannot be read now, but could be before: a run that goes on may be in the middle of a line.
    Raises RunDirError where a path holds no run, or none of its runs can be read.
    """
    found = collect(paths)
    labels = {entry.summary.run_id: entry.label for entry in found.entries}
    records: list[RunRecord] = []
    unreadable: list[EsplError] = []
    for folder in run_folders(paths):
        try:
            records.append(_read_anew(folder, labels, {} if known is None else known))
        except EsplError as error:
            if known and folder in known:
                records.append(known[folder][1])
            else:
                unreadable.append(error)
    if not found.entries and not records:
        raise unreadable[0] if unreadable else RunDirError(f"{paths[0]} holds no run that has begun; start one with espl-bench run")
    ordered = sorted(records, key=lambda record: (record.label, record.view.config.seed, record.name))
    return Study(found.entries, tuple(ordered), tuple(map(str, unreadable)))


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """Run directories at the paths and as deep below as tables look, each once."""
    return list({folder.resolve(): folder for path in paths for folder in _below(path)}.values())


def _below(path: Path) -> Iterator[Path]:
    start = path.parent if path.name == SUMMARY and path.is_file() else path
    for level in LEVELS:
        for config in sorted(start.glob(level + CONFIG)):
            yield config.parent


def stamp(folder: Path) -> Stamp:
    """See `Stamp`. A file that is not there counts as empty."""
    files = (folder / CONFIG, folder / SUMMARY, *(log.path(folder) for log in Log))
    found = (file.stat() if file.exists() else None for file in files)
    return tuple((stat.st_mtime_ns, stat.st_size) if stat else (0, 0) for stat in found)


def _read_anew(folder: Path, labels: Mapping[str, str], known: Known) -> RunRecord:
    """From `known`, unless something was written since, or the run's row has another name now."""
    now = stamp(folder)
    before = known.get(folder)
    if before and before[0] == now and before[1].label == _label(before[1].view, labels):
        return before[1]
    record = read_record(RunDir.open(folder), labels)
    known[folder] = now, record
    return record


def _label(view: RunView, labels: Mapping[str, str]) -> str:
    return labels.get(view.summary.run_id if view.summary else "", view.config.method.name)


def read_record(run: RunDir, labels: Mapping[str, str]) -> RunRecord:
    """Read one run. `labels` maps a finished run's id to its row; any other run stands under its method's name."""
    view = read_view(run)
    return RunRecord(
        run=run,
        label=_label(view, labels),
        view=view,
        metrics=tuple(read_metrics(run)),
        timing=tuple(read_timing(run)),
        events=tuple(read_events(run)),
    )
