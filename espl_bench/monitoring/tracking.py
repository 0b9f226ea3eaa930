"""Reporter that forwards every event to another and logs its scalars to experiment trackers.

RUN/tracking.json holds a run's trackers and its id in them, so that a resume continues the same tracked run by default. It is not part
of the configuration, because it does not affect results.
"""

import json
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from pydantic_core import to_jsonable_python

from espl_bench.config.choices import without_folders
from espl_bench.config.run_config import RunConfig
from espl_bench.config.version_1 import first_form
from espl_bench.errors import RunDirError
from espl_bench.monitoring.reporter import EvalReport, Reporter, StepReport
from espl_bench.monitoring.trackers import KINDS, Tracked, Tracker, require
from espl_bench.runs.summary import Summary
from espl_bench.types import Split
from espl_bench.utils import atomic_io

TRACKING = "tracking.json"
PROJECT = "espl-bench"


@contextmanager
def tracked(reporter: Reporter, folder: Path, wanted: Sequence[str]) -> Generator[Reporter]:
    """Yield the reporter, wrapped if the run has trackers or `wanted` names some.

    Raises UsageError if one is not installed.
    """
    names = tuple(dict.fromkeys([*_recorded(folder).get("trackers", ()), *wanted]))
    if not names:
        yield reporter
        return
    require(names)
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
        self._trackers: list[Tracker] = []

    def started(self, config: RunConfig, folder: Path, step: int) -> None:
        """Open the trackers. Raises EsplError if one refuses; the run can be resumed."""
        record: dict[str, Any] = {"id": uuid.uuid4().hex[:12], **_recorded(folder), "trackers": list(self._names)}
        atomic_io.write_atomic(folder / TRACKING, [atomic_io.indented(record)])
        name = f"{config.env}-{config.folder_name}"
        run = Tracked(record["id"], PROJECT, name, folder, without_folders(to_jsonable_python(first_form(config))), step)
        for kind in self._names:
            self._trackers.append(KINDS[kind].open(run))
        self._reporter.started(config, folder, step)

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
        """Close what was opened, however the run ended."""
        for tracker in self._trackers:
            tracker.close()

    def _log(self, step: int, numbers: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.log(step, numbers)


def _recorded(folder: Path) -> dict[str, Any]:
    """Read tracking.json; empty for an untracked run. Raises RunDirError if the file is damaged."""
    path = folder / TRACKING
    try:
        parsed: Any = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):  # faults of the folder itself are reported by the run
        return {}
    except (OSError, ValueError) as error:
        raise RunDirError(f"{path} cannot be read ({error}); delete it to go on without trackers") from error
    record = cast(dict[str, Any], parsed) if isinstance(parsed, dict) else {}
    if not isinstance(record.get("id"), str) or not set(record.get("trackers", ())) <= KINDS.keys():
        raise RunDirError(f"{path} does not name trackers of this version; delete it to go on without trackers")
    return record
