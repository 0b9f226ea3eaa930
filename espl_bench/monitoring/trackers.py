"""Experiment trackers behind one small protocol: TensorBoard, Weights & Biases, trackio. All optional, none by default.

A tracker receives numbers by name at a step of the run. Steps are those of metrics.jsonl, so they continue after a resume and never
restart. Trackers never receive text that a model wrote, and do not affect the run (detached_tracker.py). Each package is imported when its
tracker is opened.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from espl_bench.errors import EsplError, UsageError, reading, unknown
from espl_bench.utils.named_files import read_named

STEP = "step"
"""The x-axis of every curve, as a metric for trackers without a step axis of their own."""
MAX_DETAIL = 300
"""Maximum characters quoted from a tracker's package."""
TENSORBOARD_FOLDER = "tensorboard"
"""Folder inside the run directory."""


class Tracker(Protocol):
    """Shows a run's numbers while it runs."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log numbers by name at a step. A step may be logged again after a resume, with the same numbers."""
        ...

    def close(self) -> None:
        """Flush everything that was logged."""
        ...


@dataclass(frozen=True, slots=True)
class Tracked:
    """A run's identity for trackers. Unchanged by a resume."""

    id: str
    project: str
    name: str
    folder: Path
    """The run directory, where trackers put their files."""
    config: Mapping[str, Any]
    step: int
    """The step from which the run continues; anything logged for later steps is void."""


class TensorBoard:
    """Event files in RUN/tensorboard, for `tensorboard --logdir`."""

    def __init__(self, run: Tracked) -> None:
        """Continue the curves: the reader purges events of steps that a resume takes back."""
        from torch.utils.tensorboard import SummaryWriter

        purge = run.step + 1 if run.step else None
        self._writer = SummaryWriter(str(run.folder / TENSORBOARD_FOLDER), purge_step=purge)  # pyright: ignore[reportArgumentType]

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write one scalar per number and flush, so that a killed run loses none."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)  # pyright: ignore[reportUnknownMemberType]
        self._writer.flush()

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class WandB:
    """Weights & Biases. Its own variables choose the destination: WANDB_MODE=offline needs neither account nor network."""

    def __init__(self, run: Tracked) -> None:
        """Continue the run of the same id. Raises EsplError if the service refuses."""
        import wandb
        from wandb.errors import Error

        for settings in (run.folder / "wandb" / "settings", Path("wandb") / "settings"):
            if settings.exists() and _chooses_an_address(settings):
                raise EsplError(
                    f"{settings} would choose where the numbers and the key go; remove it, and set WANDB_BASE_URL if you need it"
                )
        try:
            self._run = wandb.init(
                project=run.project,
                id=run.id,
                name=run.name,
                dir=run.folder,
                config=dict(run.config),
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(console="off"),  # it would store what is printed
            )
        except Error as error:
            raise EsplError(f"{error}; log in, or set WANDB_MODE=offline and sync later") from error
        self._run.define_metric(STEP)
        self._run.define_metric("*", step_metric=STEP)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log the step as one of the numbers, so that a repeated step keeps its place."""
        self._run.log({STEP: step, **numbers})

    def close(self) -> None:
        """Finish this part of the run."""
        self._run.finish()


def _chooses_an_address(settings: Path) -> bool:
    with reading(settings, "remove it, and set WANDB_BASE_URL if you need it", EsplError):
        return b"base_url" in read_named(settings)


class Trackio:
    """trackio: curves in a local database, for `trackio show`."""

    def __init__(self, run: Tracked) -> None:
        """Continue the run of the same name; trackio identifies runs by name, so the id is part of it."""
        trackio: Any = import_module("trackio")  # has no types
        self._run = trackio.init(project=run.project, name=f"{run.name}-{run.id}", config=dict(run.config), resume="allow", embed=False)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log at a step of trackio's own axis."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Flush the queue."""
        self._run.finish()


@dataclass(frozen=True, slots=True)
class TrackerName:
    """A tracker that can be chosen."""

    package: str
    open: Callable[[Tracked], Tracker]
    own_process: bool = False
    """True if the package has services or exit hooks of its own, which could hold up the end of a run."""
    sends: bool = False
    """True if it may send the numbers to another machine."""


KINDS: Mapping[str, TrackerName] = {
    "tensorboard": TrackerName("tensorboard", TensorBoard),
    "wandb": TrackerName("wandb", WandB, own_process=True, sends=True),
    "trackio": TrackerName("trackio", Trackio, own_process=True, sends=True),
}


def choose(listed: str) -> tuple[str, ...]:
    """Parse ``tensorboard,wandb``. Raises UsageError for an unknown tracker, or one whose package is missing."""
    names = tuple(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))
    for name in names:
        if name not in KINDS:
            raise unknown("tracker", name, KINDS)
    require(names)
    return names


def require(names: Sequence[str]) -> None:
    """Raise UsageError, before anything runs, unless the trackers' packages are installed."""
    for name in names:
        if find_spec(KINDS[name].package) is None:
            raise UsageError(f"tracker {name} needs the package {KINDS[name].package}; install it with: pip install 'espl-bench[{name}]'")


def words_of(error: BaseException) -> str:
    """Quote a package's error: one line, bounded."""
    said = " ".join(str(error).split())
    return said if isinstance(error, EsplError) else f"{type(error).__name__}: {said}"[:MAX_DETAIL]
