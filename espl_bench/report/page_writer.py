"""Build a report as one file below a size limit: if not all rollouts fit, an even share is kept, and the page says so."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from espl_bench.analysis.study import RunRecord, Study
from espl_bench.errors import EsplError, UsageError
from espl_bench.learning.advantages import find_baseline
from espl_bench.report.page import pack, page
from espl_bench.report.payload import run_json, study_json, tables_json
from espl_bench.report.prompt_pages import PromptPages
from espl_bench.report.rollout_pages import Index, Listed, pieces, read_samples
from espl_bench.utils import foreign_files

MIB = 1024 * 1024
BASE64 = 4 / 3
"""Growth of embedded data."""
CAUTION = 0.9
"""Share of the room that a second try aims at, because groups differ in length."""
SMALLEST = 64 * 1024
"""Smallest room for rollouts in bytes; with less, a report is refused."""

Progress = Callable[[int, int], None]
"""Runs read, runs in all."""


@dataclass(frozen=True, slots=True)
class BuiltReport:
    """Built page and its number of rollouts."""

    page: bytes
    stored: int
    """Number of rollouts of the runs."""
    kept: int
    """Number of rollouts in the page."""
    study: Study
    """The runs that are in it, and those left out."""


class _DamagedRunError(Exception):
    """A run cannot be put into the page."""

    def __init__(self, record: RunRecord, reason: EsplError) -> None:
        super().__init__(str(reason))
        self.record = record
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Rollouts:
    blobs: dict[str, bytes]
    stored: int
    kept: int

    @property
    def size(self) -> float:
        """Size in the page, in bytes."""
        return sum(len(data) for data in self.blobs.values()) * BASE64


def build(study: Study, title: str, limit: int, progress: Progress = lambda done, total: None) -> BuiltReport:
    """Build the page.

    Args:
        study: the runs.
        title: title of the window and the page.
        limit: largest size of the page in bytes.
        progress: called as runs are read.

    A run that turns out to be damaged is left out. Raises UsageError if not even the runs without their rollouts fit, RunDirError if no
    run can be read.
    """
    while True:
        try:
            return _built(study, title, limit, progress)
        except _DamagedRunError as damaged:
            study = study.without(damaged.record, damaged.reason)
            if not study.records and not study.entries:
                raise damaged.reason from damaged


def _built(study: Study, title: str, limit: int, progress: Progress) -> BuiltReport:
    document = study_json(study, tables_json(study.entries), title, live=False)
    runs: dict[str, bytes] = {}
    for name, record in study.named.items():
        with _naming(record):
            runs[f"run/{name}"] = pack(run_json(record))
            runs |= {f"prompts/{name}/{number}": pack(piece) for number, piece in PromptPages(record).pieces()}
    room = limit - len(page(title, document, runs))
    if room < SMALLEST:
        raise UsageError(f"{len(study.records)} runs do not fit into a page of {limit / MIB:.3g} MiB; name fewer, or raise --max-mib")
    share = _first_share(study, room)
    rollouts = _rollouts(study, share, progress)
    while rollouts.size > room:
        share *= CAUTION * room / rollouts.size
        rollouts = _rollouts(study, share, progress)
    document["rollouts"] = {"stored": rollouts.stored, "kept": rollouts.kept}
    return BuiltReport(page(title, document, {**runs, **rollouts.blobs}), rollouts.stored, rollouts.kept, study)


@contextmanager
def _naming(record: RunRecord) -> Generator[None]:
    """Say which run an error is about."""
    try:
        yield
    except EsplError as error:
        raise _DamagedRunError(record, error) from error


def _rollouts(study: Study, share: float, progress: Progress) -> _Rollouts:
    """Read the given share of the rollouts of all runs."""
    blobs: dict[str, bytes] = {}
    stored = kept = 0
    for done, (name, record) in enumerate(study.named.items()):
        progress(done, len(study.records))
        index = Index()
        with _naming(record):
            for sample in read_samples(record.run, find_baseline(record.view.config.method.baseline), share):
                index.add(Listed.of(sample))
                blobs |= {f"rollouts/{name}/{piece}": pack(content) for piece, content in pieces(sample)}
                stored, kept = stored + sample.stored, kept + len(sample.rows)
        blobs[f"index/{name}"] = pack(index.to_json())
    progress(len(study.records), len(study.records))
    return _Rollouts(blobs, stored, kept)


def _first_share(study: Study, room: int) -> float:
    """Estimate the first share to try: all, unless they cannot fit. Texts shrink to a twelfth at best."""
    stored = sum(map(_stored, study.records))
    return min(1.0, 12 * room / stored) if stored else 1.0


def _stored(record: RunRecord) -> int:
    """Return the bytes of a run's rollouts."""
    with _naming(record):
        return sum(foreign_files.size(file, record.run.path) for file in record.run.rollout_paths())
