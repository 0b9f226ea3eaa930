"""Measures of runs as columns beside a table: what `espl-bench measure` found, by row."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from espl_bench.errors import unknown
from espl_bench.leaderboard.grouping import TestGroup, mean
from espl_bench.runs.measures_file import Measures
from espl_bench.stats import Interval, seed_interval
from espl_bench.utils.formatting import DASH, fixed, points, signed_points

Read = Callable[[Measures], float | None]


@dataclass(frozen=True, slots=True)
class MeasureColumn:
    """One number of a run's measures."""

    heading: str
    read: Read
    """Returns the number; None if it was not measured, or does not exist."""
    shown: Callable[[float], str]


def _three_digits(number: float) -> str:
    return f"{number:.3g}"


def _drift(measures: Measures) -> float | None:
    return measures.drift and measures.drift.weights.mean


def _behaviour(measures: Measures) -> float | None:
    return measures.drift and measures.drift.behaviour and measures.drift.behaviour.mean


def _steps(measures: Measures) -> float | None:
    return measures.second_task and measures.second_task.learned.steps_to(measures.second_task.target)


def _area(measures: Measures) -> float | None:
    return measures.second_task and measures.second_task.learned.area - measures.second_task.from_base.area


def _perplexity(measures: Measures) -> float | None:
    return measures.text and measures.text.trained / measures.text.base


def _perplexity_after(measures: Measures) -> float | None:
    text = measures.text
    return None if text is None or text.after_second_task is None else text.after_second_task / text.base


COLUMNS: Mapping[str, MeasureColumn] = {
    "kl": MeasureColumn("KL weights\nnats/token", _drift, _three_digits),
    "behaviour": MeasureColumn("KL behaviour\nnats/token", _behaviour, _three_digits),
    "unprompted": MeasureColumn("without\nprompt", lambda m: m.prompt and m.prompt.unprompted.mean, points),
    "length": MeasureColumn("prompt\ntokens", lambda m: m.prompt and float(m.prompt.prompt_tokens), fixed),
    "cost": MeasureColumn("tokens\nper point", lambda m: m.prompt and m.prompt.tokens_per_point, _three_digits),
    "other": MeasureColumn("second task\nbefore", lambda m: m.second_task and m.second_task.unprompted.mean, points),
    "steps": MeasureColumn("steps to\ntarget", _steps, fixed),
    "area": MeasureColumn("area against\nbase", _area, signed_points),
    "kept": MeasureColumn("first task\nafterwards", lambda m: m.second_task and m.second_task.first_task.mean, points),
    "forgot": MeasureColumn("change of\nfirst task", lambda m: m.second_task and m.second_task.change.mean, signed_points),
    "text": MeasureColumn("perplexity\nagainst base", _perplexity, _three_digits),
    "text_after": MeasureColumn("the same\nafterwards", _perplexity_after, _three_digits),
    "asymptote": MeasureColumn("asymptote", lambda m: m.sigmoid and m.sigmoid.asymptote.mean, points),
    "rate": MeasureColumn("rate", lambda m: m.sigmoid and m.sigmoid.rate.mean, _three_digits),
    "midpoint": MeasureColumn("midpoint\nsteps", lambda m: m.sigmoid and m.sigmoid.midpoint.mean, fixed),
}
"""By name on the command line."""
ALL = "all"
LEGEND = (
    "Measures (docs/measures.md) are means over the runs that have them, with the number of these in brackets if some have not; JSON adds "
    "their 95 % t intervals over seeds. KL: of whole distributions, at the tokens that a run samples on the test. Area: points of mean "
    "validation score on the second task beyond the base's."
)


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """One measure of one row."""

    mean: float
    runs: int
    """Runs that have the number."""
    ci95: Interval | None
    """Interval over seeds; None for one run."""


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """Measures of one row of a table."""

    method: str
    runs: int
    """Runs of the row that were measured."""
    cells: Mapping[str, MeasuredCell | None]
    """By column; None if no run has the number."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Measures of the rows of one test, in the order of its table."""

    columns: tuple[str, ...]
    rows: tuple[MeasuredRow, ...]


def choose_columns(wanted: str) -> tuple[str, ...]:
    """Parse ``kl,area`` or ``all``. Raises UsageError for an unknown column."""
    if wanted == ALL:
        return tuple(COLUMNS)
    named = [name.strip() for name in wanted.split(",")]
    for name in named:
        if name not in COLUMNS:
            raise unknown("measure", name, (*COLUMNS, ALL))
    return tuple(dict.fromkeys(named))


def gather_measures(test: TestGroup, of_runs: Mapping[str, Measures], columns: Sequence[str]) -> Measured:
    """Average the measures of each row of a test; `of_runs` has them by run id."""
    runs = {label: [of_runs[run.run_id] for run in each.runs.values() if run.run_id in of_runs] for label, each in test.methods.items()}
    return Measured(tuple(columns), tuple(_row(label, several, columns) for label, several in runs.items()))


def _row(label: str, several: Sequence[Measures], columns: Iterable[str]) -> MeasuredRow:
    return MeasuredRow(label, len(several), {name: _cell([COLUMNS[name].read(each) for each in several]) for name in columns})


def _cell(values: Iterable[float | None]) -> MeasuredCell | None:
    known = [value for value in values if value is not None]
    return MeasuredCell(mean(known), len(known), seed_interval(known)) if known else None


def cell_text(name: str, cell: MeasuredCell | None, runs: int) -> str:
    """Format a cell, with the number of its runs if that is not the row's."""
    if cell is None:
        return DASH
    return COLUMNS[name].shown(cell.mean) + ("" if cell.runs == runs else f" ({cell.runs})")
