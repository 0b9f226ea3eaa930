"""A grid in a TOML file: methods, environments, models and seeds, and overrides for some of its cells.

    methods = ["rl_only", "espl"]
    environments = ["rulebook", { name = "rulebook", label = "rulebook-w3", options = { world = 3 } }]
    models = ["Qwen/Qwen3-4B"]      # default: each environment's own
    seeds = 3                       # or [0, 1, 2]
    out = "s3://bucket/sweep"       # or --out

    [options]                       # of every run, named as on the command line; no sections
    steps = 40
    lr = [1e-4, 1e-5]               # a list makes a cell of each value, named by it: rulebook-espl-lr1e-05-s0

    [resources]                     # of every cell
    gpus = 0.5

    [[overrides]]                   # later ones win
    when = { method = "espl", seed = [1, 2] }
    options = { lr = 2e-5 }
    resources = { gpus = 1 }

    [[exclusions]]
    method = "rl_only"
    environment = "rulebook-w3"

A cell is a configuration: a value that changes nothing of a method, such as the learning rate of one that freezes weights, makes no second
cell of it. An option whose value is a list itself (`root_principles`) takes a list of lists.

Every cell is resolved before the first one starts, so that a mistake in the last cell is reported at once.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import to_jsonable_python

from espl_bench.config.choices import frozen, what_matters, written
from espl_bench.config.flat import flat_fields, former_names
from espl_bench.config.resolve import resolve
from espl_bench.config.run_config import RunConfig
from espl_bench.config.sections import METHOD_CHOICES
from espl_bench.errors import UsageError, reading, unknown
from espl_bench.prompts.dialect import Dialect
from espl_bench.sweep.resources import Resources, read_resources
from espl_bench.utils.named_files import read_named_text
from espl_bench.utils.names import fault_of_name
from espl_bench.utils.validation import first_fault

AXES = frozenset(name for name, choice in flat_fields(RunConfig).items() if choice.flag.axis)
"""Choices of a run that a grid's axes make."""
OPTIONS = frozenset({*flat_fields(RunConfig), *METHOD_CHOICES}) - AXES
"""Choices that options make, by flat name."""
LISTS = frozenset({"root_principles"})
"""Options whose value is a list."""
NOTHING_VARIED: Mapping[str, Any] = {}


RESERVED = frozenset({"attempts", "sweep.json", "table.md", "table.json"})
"""What a sweep's folder holds beside its cells."""


def named(name: str) -> str:
    """Return a name of a cell, or a part of one. Raises ValueError if it would leave the sweep's folder or take one of its own names."""
    if fault := fault_of_name(name, RESERVED):
        raise ValueError(f"{name!r} cannot name a folder: {fault}")
    return name


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Environment(_Table):
    """An environment with options; several entries may name the same one."""

    name: str
    label: str = ""
    """Name of its cells; default: the environment's name with its options."""
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("label")
    @classmethod
    def _names_folders(cls, label: str) -> str:
        return label and named(label)

    @property
    def called(self) -> str:
        """Label, or the name with the options' values."""
        parts = [self.name, *(f"{key}{value}" for key, value in sorted(self.options.items()))]
        return self.label or "-".join(_slug(part) for part in parts)


class When(_Table):
    """Selects cells that match every given axis; an axis may list several values."""

    method: str | tuple[str, ...] | None = None
    environment: str | tuple[str, ...] | None = None
    """By label."""
    model: str | tuple[str, ...] | None = None
    seed: int | tuple[int, ...] | None = None

    def matches(self, point: "GridPoint") -> bool:
        """Return True if a cell is selected."""
        axes = {"method": point.method, "environment": point.environment.called, "model": point.model, "seed": point.seed}
        return all(wanted is None or axes[axis] in _several(wanted) for axis, wanted in self)

    def __str__(self) -> str:
        """Format as in ``method = espl, seed = 1``."""
        return ", ".join(f"{axis} = {value}" for axis, value in self if value is not None) or "every cell"


class Override(_Table):
    """Different settings for the cells that `when` selects."""

    when: When
    options: dict[str, Any] = Field(default_factory=dict)
    resources: dict[str, float] = Field(default_factory=dict)


class BudgetLimits(_Table):
    """Spending limits of one cell at its endpoints."""

    max_cost: float | None = Field(default=None, gt=0)
    """USD."""
    max_tokens_total: int | None = Field(default=None, gt=0)
    prices: str | None = None
    """A file of prices."""


class Grid(_Table):
    """The content of a grid file."""

    methods: tuple[str, ...] = Field(min_length=1)
    environments: tuple[Environment, ...] = Field(min_length=1)
    models: tuple[str, ...] = ()
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    preset: str | None = None
    out: str | None = None
    retries: int = Field(default=3, ge=0)
    """Times in a row that a cell may lose its worker without a new checkpoint in between."""
    options: dict[str, Any] = Field(default_factory=dict)
    resources: dict[str, float] = Field(default_factory=dict)
    limits: BudgetLimits = BudgetLimits()
    overrides: tuple[Override, ...] = ()
    exclusions: tuple[When, ...] = ()

    @field_validator("environments", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [{"name": entry} if isinstance(entry, str) else entry for entry in cast(list[Any], value)]

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        return range(value) if isinstance(value, int) else value


@dataclass(frozen=True, slots=True)
class GridPoint:
    """A point of the grid."""

    method: str
    environment: Environment
    model: str | None
    """None: the environment's default."""
    seed: int

    def name(self, with_model: bool, varied: Mapping[str, Any] = NOTHING_VARIED) -> str:
        """Return the name of its folder; `varied` are the options that tell it from the point's other cells."""
        model = [_slug(Path(self.model).name)] if with_model and self.model else []
        options = [_slug(written(value) if name == "label" else f"{name}{written(value)}") for name, value in varied.items()]
        return "-".join([self.environment.called, *model, self.method, *options, f"s{self.seed}"])


class Cell(_Table):
    """One run of a sweep, resolved."""

    name: str
    """Name of its folder; unique in the sweep."""
    config: RunConfig
    resources: Resources

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        return named(name)

    @property
    def work(self) -> int:
        """Number of training episodes: an estimate of its duration, used to start long cells first."""
        config = self.config
        return config.iterations * config.batch.num_prompts * config.batch.batch_size * config.batch.group_size


def read_grid(path: Path) -> Grid:
    """Read a grid file. Raises UsageError naming the file and the mistake."""
    try:
        with reading(path, "name a TOML file with a grid", UsageError):
            values = tomllib.loads(read_named_text(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    try:
        for name in values:
            if name not in Grid.model_fields:
                raise unknown("key", name, Grid.model_fields)
        grid = Grid.model_validate(values)
        for options in (grid.options, *(override.options for override in grid.overrides)):
            _check_options(options)
    except ValidationError as error:
        raise UsageError(f"{path}: {first_fault(error)}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return grid


def labelled(grid: Grid, label: str | None) -> Grid:
    """Return a grid whose runs have a label; None: as the grid says."""
    return grid if label is None else grid.model_copy(update={"options": {**grid.options, "label": label}})


def make_cells(grid: Grid) -> tuple[Cell, ...]:
    """Resolve every cell, seeds outermost, so that an unfinished sweep has whole comparisons.

    Raises UsageError for an invalid cell, for two cells of one name, and for an override or exclusion that matches no cell.
    """
    points = list(_points(grid))
    for kind, whens in (("override", [override.when for override in grid.overrides]), ("exclusion", grid.exclusions)):
        if idle := next((when for when in whens if not any(map(when.matches, points))), None):
            raise UsageError(f"the {kind} for {idle} matches no cell; environments are selected by label: {_labels(points)}")
    included = [point for point in points if not any(when.matches(point) for when in grid.exclusions)]
    if not included:
        raise UsageError("the exclusions leave no cell")
    cells = tuple(cell for point in included for cell in _cells(grid, point))
    if twice := next((name for name, times in Counter(cell.name for cell in cells).items() if times > 1), None):
        raise UsageError(f"two cells would be called {twice}; give one of the environments a label")
    return cells


def _points(grid: Grid) -> Iterable[GridPoint]:
    axes = (dict.fromkeys(grid.seeds), grid.environments, grid.models or (None,), dict.fromkeys(grid.methods))
    for seed, environment, model, method in product(*axes):
        yield GridPoint(method, environment, model, seed)


def _cells(grid: Grid, point: GridPoint) -> Iterator[Cell]:
    """Make a cell of each value of the options that list several, unless the method does not depend on them."""
    met = [override for override in grid.overrides if override.when.matches(point)]
    options = dict(grid.options)
    stated: dict[str, Any] = dict(grid.resources)
    for override in met:
        options |= override.options
        stated |= override.resources
    listed = {name: value for name, value in options.items() if _is_axis(name, value)}
    if idle := next((name for name, values in listed.items() if not values), None):
        raise UsageError(f"cell {point.name(len(grid.models) > 1)}: options: {idle} lists no value; give one, or leave it out")
    distinct: dict[str, tuple[dict[str, Any], RunConfig]] = {}
    for values in product(*listed.values()):
        varied = dict(zip(listed, values, strict=True))
        config = _config(grid, point, options | varied, point.name(len(grid.models) > 1, varied))
        distinct.setdefault(frozen(to_jsonable_python(what_matters(config))), (varied, config))
    for varied, config in distinct.values():
        telling = [name for name in listed if len({frozen({name: others[name]}) for others, _ in distinct.values()}) > 1]
        label = {"label": config.label} if config.label else {}
        yield _cell(point.name(len(grid.models) > 1, label | {name: varied[name] for name in telling}), config, stated)


def _is_axis(name: str, value: object) -> bool:
    """Return whether a value is a list of values. An option that takes a list itself is varied by a list of lists."""
    if not isinstance(value, list):
        return False
    listed = cast(list[object], value)
    return name not in LISTS or (bool(listed) and all(isinstance(item, list) for item in listed))


def _config(grid: Grid, point: GridPoint, options: Mapping[str, Any], name: str) -> RunConfig:
    axes = {"seed": point.seed, "model": point.model}
    env_options = {"env_options": point.environment.options} if point.environment.options else {}
    try:
        config = resolve(point.method, point.environment.name, {**options, **axes, **env_options}, grid.preset)
        Dialect.load(config.prompts.dialect)
    except UsageError as error:
        raise UsageError(f"cell {name}: {error}") from error
    return config


def _cell(name: str, config: RunConfig, stated: Mapping[str, Any]) -> Cell:
    try:
        resources = read_resources(stated, config.flat())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"cell {name}: resources: {first['msg']}") from error
    except ValueError as error:
        raise UsageError(f"cell {name}: resources: {error}") from error
    try:
        return Cell(name=name, config=config, resources=resources)
    except ValidationError as error:
        raise UsageError(f"cell {first_fault(error)}; give its environment a short label") from error


def _check_options(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in AXES:
            raise UsageError(f"option {name} is an axis of the grid; it stands at the top of the file")
        if name not in OPTIONS and name not in former_names(RunConfig):
            raise unknown("option", name, OPTIONS)


def _labels(points: Sequence[GridPoint]) -> str:
    return ", ".join(dict.fromkeys(point.environment.called for point in points))


def _several(value: object) -> tuple[object, ...]:
    return cast(tuple[object, ...], value) if isinstance(value, tuple) else (value,)


def _slug(text: str) -> str:
    """Convert text to a part of a folder's name."""
    return "".join(char if char.isalnum() or char in "._" else "-" for char in text).strip("-.")
