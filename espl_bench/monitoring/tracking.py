"""Reporter that forwards every event to another and logs its scalars to experiment trackers.

A tracker that fails is named in one line, once, and the run goes on without it. RUN/tracking.json holds a run's trackers and its id in
them, so that a resume continues the same tracked run by default. It is not part of the configuration, because it does not affect results.
"""

import re
import shlex
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

from pydantic_core import to_jsonable_python

from espl_bench.config.choices import without_folders
from espl_bench.config.contacts import Contact
from espl_bench.config.run_config import RunConfig
from espl_bench.config.version_1 import first_form
from espl_bench.errors import RunDirError
from espl_bench.monitoring.detached_tracker import DetachedTracker
from espl_bench.monitoring.reporter import EvalReport, Reporter, StepReport
from espl_bench.monitoring.tracker_process import ProcessTracker
from espl_bench.monitoring.trackers import KINDS, Tracked, require
from espl_bench.runs.consent import NO_CONSENT, Consent, Origin, confirm
from espl_bench.runs.summary import Summary
from espl_bench.types import Split
from espl_bench.utils import atomic_io, foreign_files
from espl_bench.utils.disk_refusals import unwritten
from espl_bench.utils.foreign_json import parse_json
from espl_bench.utils.names import in_file_names

TRACKING = "tracking.json"
PROJECT = "espl-bench"
_ID = re.compile(r"[A-Za-z0-9]{1,64}")
"""Form of a run's id, which trackers use as part of paths."""


@contextmanager
def tracked(reporter: Reporter, folder: Path, wanted: Sequence[str], consent: Consent = NO_CONSENT) -> Generator[Reporter]:
    """Yield the reporter, wrapped if the run has trackers or `wanted` names some.

    Raises UsageError if a wanted one is not installed, or one that the run names sends its numbers elsewhere and is not confirmed.
    """
    require(wanted)
    try:
        recorded = _recorded(folder).get("trackers", ())
    except RunDirError as error:
        reporter.stuck(str(error))
        recorded = ()
    if recorded:
        consent |= Consent.of(wanted, None)
        confirm([(Origin.of(folder / TRACKING), _contacts(recorded))], consent, f"espl-bench resume {shlex.quote(str(folder))}")
    names = tuple(dict.fromkeys([*recorded, *wanted]))
    if not names:
        yield reporter
        return
    watching = Tracking(reporter, names)
    try:
        yield watching
    finally:
        watching.close()


class Tracking:
    """A reporter with trackers."""

    def __init__(self, reporter: Reporter, names: Sequence[str]) -> None:
        """Defer opening the trackers to the run's start, when its configuration and first step are known."""
        self._reporter = reporter
        self._names = names
        self._trackers: list[DetachedTracker] = []
        self._told: set[str] = set()
        """Trackers whose failure has been reported."""

    def started(self, config: RunConfig, folder: Path, step: int) -> None:
        """Open the trackers."""
        self._reporter.started(config, folder, step)
        name = f"{in_file_names(config.env)}-{config.folder_name}"
        chosen = without_folders(to_jsonable_python(first_form(config)))
        run = Tracked(self._identify(folder), PROJECT, name, folder, chosen, step)
        for each in self._names:
            kind = KINDS[each]
            self._trackers.append(DetachedTracker(each, partial(ProcessTracker, each) if kind.own_process else kind.open, run))

    def _identify(self, folder: Path) -> str:
        """Return the run's id in its trackers, and write it down for a resume."""
        record: dict[str, Any] = {"id": uuid.uuid4().hex[:12]}
        with suppress(RunDirError):  # `tracked` has said so
            record |= _recorded(folder)
        try:
            atomic_io.write_atomic(folder / TRACKING, [atomic_io.indented({**record, "trackers": list(self._names)})])
        except OSError as error:
            self._reporter.stuck(f"{unwritten(folder / TRACKING, error)}, or a resume will not continue the trackers' curves")
        with suppress(OSError):
            Origin.of(folder / TRACKING).remember(_contacts(self._names))
        return record["id"]

    def evaluating(self, split: Split, done: int, total: int) -> None:
        """Forward; there is nothing to log."""
        self._reporter.evaluating(split, done, total)

    def stepped(self, report: StepReport) -> None:
        """Log rewards, outcomes, training metrics, and the population."""
        self._log(
            report.step,
            {
                "train/reward": report.reward,
                **{f"train/outcome/{outcome.value}": share for outcome, share in report.outcomes.items()},
                **{f"train/{name}": number for name, number in report.learned.items()},
                "population/size": report.population,
                "population/born": len(report.born),
                "population/rejected": len(report.rejected),
                "speed/tokens_per_second": report.tokens_per_second,
                "speed/seconds": report.seconds,
            },
        )
        self._reporter.stepped(report)

    def stuck(self, message: str) -> None:
        """Forward; there is nothing to log."""
        self._reporter.stuck(message)

    def evaluated(self, report: EvalReport) -> None:
        """Log score and outcomes of a held-out split."""
        outcomes = {f"{report.split}/outcome/{outcome.value}": share for outcome, share in report.outcomes.items()}
        self._log(report.step, {f"{report.split}/score": report.score, **outcomes})
        self._reporter.evaluated(report)

    def finished(self, summary: Summary, folder: Path) -> None:
        """Forward; there is nothing to log."""
        self._reporter.finished(summary, folder)

    def close(self) -> None:
        """Close what was opened, however the run ended, and sum up which trackers do not have all of it."""
        for tracker in self._trackers:
            tracker.close()
            if tracker.fault:
                why = "" if tracker.name in self._told else f" ({tracker.fault})"
                self._reporter.stuck(f"tracker {tracker.name} has the numbers of this run up to step {tracker.step} only{why}")

    def _log(self, step: int, numbers: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(step, numbers)
            if tracker.fault and tracker.name not in self._told:
                self._told.add(tracker.name)
                self._reporter.stuck(f"tracker {tracker.name} has failed and gets no more numbers; the run goes on ({tracker.fault})")


def _contacts(names: Sequence[str]) -> tuple[Contact, ...]:
    """Return the trackers that send the numbers elsewhere."""
    return tuple(Contact(name, "the tracker") for name in names if KINDS[name].sends)


def _recorded(folder: Path) -> dict[str, Any]:
    """Read tracking.json; empty for an untracked run. Raises RunDirError if the file is damaged."""
    path = folder / TRACKING
    try:
        parsed: Any = parse_json(foreign_files.read_record(path))
    except (FileNotFoundError, NotADirectoryError):  # faults of the folder itself are reported by the run
        return {}
    except (OSError, ValueError) as error:
        raise RunDirError(f"{path} cannot be read ({error}), so the run goes on untracked; name trackers with --track") from error
    record = cast(dict[str, Any], parsed) if isinstance(parsed, dict) else {}
    trackers = record.get("trackers", [])
    named = isinstance(trackers, list) and all(isinstance(name, str) and name in KINDS for name in cast(list[object], trackers))
    if not isinstance(record.get("id"), str) or not _ID.fullmatch(record["id"]) or not named:
        raise RunDirError(f"{path} names no trackers of this version, so the run goes on untracked; name trackers with --track")
    return record
