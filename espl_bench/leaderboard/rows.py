"""Rows of tables: a row is a configuration of a method, labelled by what differs from the method's other configurations.

Runs that differ in anything but the seed are different rows: ``espl · steps 60`` and ``espl · steps 200``. The label names what differs
among the configurations of that method in that environment, and nothing else: a method with one configuration there is plain ``espl``,
whatever other methods or other environments have. A run's own name (`--label`) stands before that.

Numbers of samples per item do not make rows: a table uses as many as all its runs have. Only where one seed of one configuration was run
with several numbers are they told apart by them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from espl_bench.config.choices import choices_of, completed, differing, frozen, telling_apart, written
from espl_bench.config.run_config import RunConfig, model_name
from espl_bench.runs.summary import Summary, environment_name

SEPARATOR = " · "
MOST_NAMES = 3
"""Options that a label names at most, if fewer tell the configurations apart."""
SAMPLES = "eval_samples"
UNKNOWN = "other choices unknown"
"""End of the label of runs whose configuration is unknown, beside others whose is known."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Choices of a run, as far as they are known."""

    choices: Mapping[str, Any]
    complete: bool
    """False for the summary of an earlier version without its configuration: only what the summary states is known."""

    @property
    def key(self) -> tuple[bool, str]:
        """Return a key that is equal for equal configurations."""
        return self.complete, frozen(self.choices)

    @classmethod
    def of(cls, run: Summary) -> "Configuration":
        """Return the configuration that a summary states."""
        if run.choices is not None:
            return cls(completed(run.choices), complete=True)
        stated = {"engine": run.engine, **({"steps": run.steps} if run.steps else {})}
        return cls(stated | ({"editor_model": run.editor_model} if run.editor_model else {}), complete=False)


@dataclass(frozen=True, slots=True)
class RowRun:
    """What decides the row of one run, finished or not."""

    name: str
    """Method, control and label, as in ``espl (random-reward) · warm``."""
    environment: str
    model: str
    seed: int
    configuration: Configuration
    folder: str = ""
    """Folder that holds the run's directory or file: tells runs apart that are equal in everything else."""
    samples: int = 0
    items: int = 0

    @classmethod
    def of(cls, run: Summary, path: Path | None = None) -> "RowRun":
        """Describe a finished run, and where its directory or published result was found."""
        folder = path.resolve().parent.name if path else ""
        return cls(run.row, run.environment, run.model, run.seed, Configuration.of(run), folder, run.k, run.n_items)

    @classmethod
    def unfinished(cls, config: RunConfig) -> "RowRun":
        """Describe a run that has no summary yet."""
        environment = environment_name(config.env, config.env_options)
        return cls(config.row, environment, model_name(config.model), config.seed, Configuration(choices_of(config), complete=True))


@dataclass(frozen=True, slots=True)
class RowLabel:
    """Label of a row and what it was made of."""

    text: str
    name: str
    """The row's name without what differs; with the folder's, where nothing else tells two runs of a seed apart."""
    configuration: Configuration = field(compare=False)


def label_rows(runs: Sequence[RowRun]) -> list[RowLabel]:
    """Label each run, in their order."""
    told = _by_folder(_by_samples(list(runs)))
    groups: dict[tuple[str, str, str], list[RowRun]] = {}
    for run in told:
        groups.setdefault((run.environment, run.model, run.name), []).append(run)
    texts = {where: _texts([run.configuration for run in group]) for where, group in groups.items()}
    return [
        RowLabel(
            SEPARATOR.join([run.name, *texts[run.environment, run.model, run.name][run.configuration.key]]), run.name, run.configuration
        )
        for run in told
    ]


def _texts(configurations: Iterable[Configuration]) -> dict[tuple[bool, str], list[str]]:
    """Write what tells the configurations of one method in one environment apart; nothing if there is one."""
    kinds = {configuration.key: configuration for configuration in configurations}
    known = [configuration.choices for configuration in kinds.values() if configuration.complete]
    stated = [configuration.choices for configuration in kinds.values() if not configuration.complete]
    common = [{name: choices[name] for name in stated[0] if name in choices} for choices in (*known, *stated)] if stated else []
    names = tuple(dict.fromkeys([*differing(known), *differing(stated), *differing(common)]))
    shown = telling_apart([*known, *stated], names, MOST_NAMES)
    return {
        key: [f"{name} {written(configuration.choices[name])}" for name in shown if name in configuration.choices]
        + ([UNKNOWN] if known and not configuration.complete else [])
        for key, configuration in kinds.items()
    }


def _cell(run: RowRun) -> tuple[object, ...]:
    return (run.environment, run.model, run.name, run.configuration.key, run.items, run.seed)


def _by_samples(runs: list[RowRun]) -> list[RowRun]:
    """Tell runs of one seed apart by their numbers of samples, if they have several."""
    numbers: dict[tuple[object, ...], set[int]] = {}
    for run in runs:
        numbers.setdefault(_cell(run), set()).update([run.samples] if run.samples else [])
    several = {_cell(run)[:-2] for run in runs if len(numbers[_cell(run)]) > 1}
    return [_with_samples(run) if _cell(run)[:-2] in several and run.samples else run for run in runs]


def _with_samples(run: RowRun) -> RowRun:
    own = run.configuration
    return replace(run, configuration=replace(own, choices={**own.choices, SAMPLES: run.samples}))


def _by_folder(runs: list[RowRun]) -> list[RowRun]:
    """Tell runs of one seed apart by their folders, if they are equal in everything else."""
    times = Counter(_cell(run) for run in runs if run.folder)
    doubled = {_cell(run)[:-2] for run in runs if times[_cell(run)] > 1}
    return [replace(run, name=f"{run.name} ({run.folder})") if run.folder and _cell(run)[:-2] in doubled else run for run in runs]
