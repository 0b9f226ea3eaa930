"""Build a report as one file below a size limit: if not all rollouts fit, an even share is kept, and the page says so."""

from collections.abc import Callable
from dataclasses import dataclass

from espl_bench.analysis.study import Study
from espl_bench.errors import UsageError
from espl_bench.learning.advantages import find_baseline
from espl_bench.report.page import pack, page
from espl_bench.report.payload import run_json, study_json, tables_json
from espl_bench.report.rollout_pages import Index, Listed, pieces, read_samples

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

    Raises UsageError if not even the runs without their rollouts fit, RunDirError if rollouts cannot be read.
    """
    document = study_json(study, tables_json(study.entries), title, live=False)
    runs = {f"run/{name}": pack(run_json(record)) for name, record in study.named.items()}
    room = limit - len(page(title, document, runs))
    if room < SMALLEST:
        raise UsageError(f"{len(study.records)} runs do not fit into a page of {limit / MIB:.3g} MiB; name fewer, or raise --max-mib")
    share = _first_share(study, room)
    rollouts = _rollouts(study, share, progress)
    while rollouts.size > room:
        share *= CAUTION * room / rollouts.size
        rollouts = _rollouts(study, share, progress)
    document["rollouts"] = {"stored": rollouts.stored, "kept": rollouts.kept}
    return BuiltReport(page(title, document, {**runs, **rollouts.blobs}), rollouts.stored, rollouts.kept)


def _rollouts(study: Study, share: float, progress: Progress) -> _Rollouts:
    """Read the given share of the rollouts of all runs."""
    blobs: dict[str, bytes] = {}
    stored = kept = 0
    for done, (name, record) in enumerate(study.named.items()):
        progress(done, len(study.records))
        index = Index()
        for sample in read_samples(record.run, find_baseline(record.view.config.method.baseline), share):
            index.add(Listed.of(sample))
            blobs |= {f"rollouts/{name}/{piece}": pack(content) for piece, content in pieces(sample)}
            stored, kept = stored + sample.stored, kept + len(sample.rows)
        blobs[f"index/{name}"] = pack(index.to_json())
    progress(len(study.records), len(study.records))
    return _Rollouts(blobs, stored, kept)


def _first_share(study: Study, room: int) -> float:
    """Estimate the first share to try: all, unless they cannot fit. Texts shrink to a twelfth at best."""
    stored = sum(file.stat().st_size for record in study.records for file in record.run.rollout_paths())
    return min(1.0, 12 * room / stored) if stored else 1.0
