"""Experiment trackers behind one small protocol: TensorBoard, Weights & Biases, trackio. All optional, none by default.

A tracker gets numbers by name at a step of the run; steps are those of metrics.jsonl, so they go on after a resume and never begin anew.
It gets no text that a model wrote and decides nothing. Each package is imported when its tracker is opened.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from espl_bench.errors import EsplError, UsageError, unknown

STEP = "step"
"""The axis of every curve, by the name under which trackers without one of their own are told it."""
TENSORBOARD_FOLDER = "tensorboard"
"""Inside the run directory."""


class Tracker(Protocol):
    """Where a run's numbers are shown while it runs."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers by name at a step. A step may be told again after a resume: the numbers are the same."""
        ...

    def close(self) -> None:
        """Hand over everything that was told."""
        ...


@dataclass(frozen=True, slots=True)
class Tracked:
    """One run as trackers know it. The same after every resume."""

    id: str
    project: str
    name: str
    folder: Path
    """The run directory; files of trackers go into it."""
    config: Mapping[str, Any]
    step: int
    """Where the run goes on: what was told of later steps is void."""


class TensorBoard:
    """Event files in RUN/tensorboard, for `tensorboard --logdir`."""

    def __init__(self, run: Tracked) -> None:
        """Continues the curves: events of steps that a resume takes back are purged by the reader."""
        from torch.utils.tensorboard import SummaryWriter

        purge = run.step + 1 if run.step else None
        self._writer = SummaryWriter(str(run.folder / TENSORBOARD_FOLDER), purge_step=purge)  # pyright: ignore[reportArgumentType]

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """One scalar per number, handed over at once: a killed run has told what it did."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)  # pyright: ignore[reportUnknownMemberType]
        self._writer.flush()

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class WandB:
    """Weights & Biases. Its own variables decide where to: WANDB_MODE=offline needs neither account nor network."""

    def __init__(self, run: Tracked) -> None:
        """Continues the run of the same id. Raises EsplError if the service refuses."""
        import wandb
        from wandb.errors import Error

        try:
            self._run = wandb.init(
                project=run.project, id=run.id, name=run.name, dir=run.folder, config=dict(run.config), resume="allow", reinit="create_new"
            )
        except Error as error:
            raise EsplError(f"wandb: {error}; log in, or set WANDB_MODE=offline and sync later") from error
        self._run.define_metric(STEP)
        self._run.define_metric("*", step_metric=STEP)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """The step is a number among the others, so that a step that is told again stands where it stood."""
        self._run.log({STEP: step, **numbers})

    def close(self) -> None:
        """Finish this part of the run."""
        self._run.finish()


class Trackio:
    """trackio: curves in a local database, for `trackio show`."""

    def __init__(self, run: Tracked) -> None:
        """Continues the run of the same name; trackio knows runs by their names, so the id is part of it."""
        trackio: Any = import_module("trackio")  # has no types of its own
        self._run = trackio.init(project=run.project, name=f"{run.name}-{run.id}", config=dict(run.config), resume="allow", embed=False)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """On trackio's own step axis."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Hand over what is queued."""
        self._run.finish()


@dataclass(frozen=True, slots=True)
class TrackerName:
    """A tracker that can be chosen."""

    package: str
    open: Callable[[Tracked], Tracker]


KINDS: Mapping[str, TrackerName] = {
    "tensorboard": TrackerName("tensorboard", TensorBoard),
    "wandb": TrackerName("wandb", WandB),
    "trackio": TrackerName("trackio", Trackio),
}


def choose(listed: str) -> tuple[str, ...]:
    """``tensorboard,wandb`` → names. Raises UsageError for an unknown one, or one whose package is missing."""
    names = tuple(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))
    for name in names:
        if name not in KINDS:
            raise unknown("tracker", name, KINDS)
    require(names)
    return names


def require(names: Sequence[str]) -> None:
    """Raise UsageError, before anything is run, unless the trackers' packages are installed."""
    for name in names:
        if find_spec(KINDS[name].package) is None:
            raise UsageError(f"tracker {name} needs the package {KINDS[name].package}; install it with: pip install 'espl-bench[{name}]'")
