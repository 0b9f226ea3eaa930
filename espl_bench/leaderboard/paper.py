"""The paper's comparison next to measured scores: the same rows and pairs, the gap, and its interval.

The paper's figures are data with a source each (results/paper.json); they were copied, not reproduced. The paper gives no
spread, so a gap's interval is that of the measured score alone. Scores also differ if the models do, so the table adds
E-SPL's lead over each method, which is what the paper claims.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from espl_bench.errors import RunDirError, reading
from espl_bench.leaderboard.csv_text import csv_cells
from espl_bench.leaderboard.grouping import GroupEntry, TestGroup, group
from espl_bench.leaderboard.layout import Sheet, TableLayout, interval_cell, signed_cell, signed_interval_cell
from espl_bench.stats import Interval, difference_interval, mean_interval
from espl_bench.utils.formatting import DASH, fixed, points
from espl_bench.utils.named_files import read_named
from espl_bench.utils.validation import FrozenRecord, first_fault

ROWS = (
    ("base", "base"),
    ("self-reflection", "reflection_only"),
    ("evolution", "evolution_only"),
    ("RL (GRPO)", "rl_only"),
    ("E-SPL", "espl"),
)
"""Names in the paper, in its order, and the methods here."""
LEADER = "espl"
PRESETS = ("paper", None)
"""Which of several configurations stands for a method: the paper's preset, then the environment's defaults."""
NOT_RUN = "not run"
"""Cell of a method that was not run."""
NOT_STATED = "not stated"
LEGEND = (
    "Success rates in percent. Reported: the paper's figure, not reproduced here. †: not stated as a number in the paper. Gap: measured "
    "minus reported. The paper gives no spread, so the gap's interval is that of the measured score, over seeds and items. Lead: E-SPL "
    "minus the method, measured on the seeds that both have. All intervals are pointwise: each is for its own cell alone."
)


class Figure(FrozenRecord):
    """Figure reported by the paper."""

    method: str
    value: float
    """Percent."""
    variant: str | None = None
    """Variant, if the paper has several figures for one method; the first of a method is its headline."""
    source: str
    stated: bool
    """True if the paper's text states the number."""


class PaperPair(FrozenRecord):
    """Training and test set of the paper."""

    name: str
    env: str
    """Environment that implements this pair."""
    model: str
    figures: tuple[Figure, ...]

    def figures_of(self, method: str) -> tuple[Figure, ...]:
        """List all variants of a method, headline first."""
        return tuple(figure for figure in self.figures if figure.method == method)


class Paper(FrozenRecord):
    """Figures reported by a paper."""

    schema_: Literal["espl-bench/paper/1"] = Field(alias="schema")
    title: str
    authors: str
    arxiv: str
    date: str
    status: str
    unit: str
    pairs: tuple[PaperPair, ...]


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """Scores of one method on one pair, as shares in 0..1; None if there is no number."""

    name: str
    method: str
    reported: float | None
    stated: bool
    measured: float | None
    ci95: Interval | None
    gap: float | None
    """Measured minus reported."""
    gap95: Interval | None
    reported_lead: float | None
    """E-SPL minus this method."""
    lead: float | None
    lead95: Interval | None
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """Comparison of one pair with one measured test."""

    pair: str
    env: str
    """Environment, with its options if it was run."""
    reported_model: str
    model: str | None
    """None: the pair was not run."""
    k: int | None
    n_items: int | None
    rows: tuple[ComparedRow, ...]
    notes: tuple[str, ...]


def reported_file() -> Path:
    """Locate the paper's figures: results/ of a checkout, or a file of the installed package."""
    checkout = Path(__file__).parents[2] / "results" / "paper.json"
    return checkout if checkout.exists() else Path(__file__).with_name("paper.json")


def read_paper(path: Path) -> Paper:
    """Read reported figures. Raises RunDirError naming the file and the entry."""
    try:
        with reading(path, "restore it from version control"):
            return Paper.model_validate_json(read_named(path))
    except ValidationError as error:
        raise RunDirError(f"{path}: {first_fault(error)}; restore it") from error


def compare_with_paper(paper: Paper, entries: Iterable[GroupEntry]) -> tuple[Compared, ...]:
    """Compare every pair with each test that was run on its environment, or with none if there is none."""
    plain = [entry for entry in entries if entry.summary.control is None]
    tests = group(plain) if plain else ()
    comparisons: list[Compared] = []
    for pair in paper.pairs:
        own = [test for test in tests if any(run.env == pair.env for method in test.methods.values() for run in method.runs.values())]
        comparisons.extend(_compared(pair, test) for test in own or (None,))
    return tuple(comparisons)


def _compared(pair: PaperPair, test: TestGroup | None) -> Compared:
    return Compared(
        pair=pair.name,
        env=test.env if test else pair.env,
        reported_model=pair.model,
        model=test.model if test else None,
        k=test.k if test else None,
        n_items=test.n_items if test else None,
        rows=tuple(_row(name, method, pair, test) for name, method in ROWS),
        notes=tuple(_notes(pair, test)),
    )


def _row(name: str, method: str, pair: PaperPair, test: TestGroup | None) -> ComparedRow:
    figure = next(iter(pair.figures_of(method)), None)
    leader = next(iter(pair.figures_of(LEADER)), None)
    reported = figure.value / 100 if figure else None
    row = test.main(method, PRESETS) if test else None
    ahead = test.main(LEADER, PRESETS) if test and method != LEADER else None
    own = test.methods[row] if test and row else None
    ci95 = mean_interval(own.cells_RI) if own else None
    shared = test.shared(ahead, row) if test and row and ahead else ()
    ours = (test.methods[ahead].on(shared), own.on(shared)) if test and own and ahead and shared else None
    return ComparedRow(
        name=name,
        method=method,
        reported=reported,
        stated=bool(figure and figure.stated),
        measured=own.score if own else None,
        ci95=ci95,
        gap=own.score - reported if own and reported is not None else None,
        gap95=(ci95[0] - reported, ci95[1] - reported) if ci95 and reported is not None else None,
        reported_lead=(leader.value - figure.value) / 100 if leader and figure and method != LEADER else None,
        lead=float((ours[0] - ours[1]).mean()) if ours else None,
        lead95=difference_interval(*ours) if ours else None,
        seeds=tuple(own.runs) if own else (),
    )


def _notes(pair: PaperPair, test: TestGroup | None) -> Iterator[str]:
    if test is None:
        yield f"not run yet: espl-bench compare --env {pair.env} --preset paper, then espl-bench results add"
    elif test.model != pair.model:
        yield f"measured with {test.model}, reported for {pair.model}: the gap reflects the models as much as the methods"
    for _, method in ROWS:
        labels = test.named(method) if test else ()
        if test and len(labels) > 1:
            yield f"{method} has several configurations ({', '.join(labels)}); shown is {test.main(method, PRESETS) or 'none of them'}"
    for name, method in ROWS:
        for index, figure in enumerate(pair.figures_of(method)):
            variant = f", {figure.variant}" if figure.variant else ""
            if index or variant or not figure.stated:
                yield f"{name}{variant}: {fixed(figure.value)}, {figure.source}"


def paper_sheets(comparisons: Sequence[Compared]) -> list[Sheet]:
    """Lay out one sheet per pair and test."""
    headings = ("method", "reported", "measured", "95 % CI", "gap", "95 % CI", "lead,\nreported", "lead,\nmeasured", "95 % CI", "seeds")
    return [
        Sheet(_caption(comparison), (TableLayout(headings, tuple(map(_cells, comparison.rows)), frozenset()),), comparison.notes)
        for comparison in comparisons
    ]


def _caption(comparison: Compared) -> str:
    here = f"{comparison.model}, avg@{comparison.k} over {comparison.n_items:,} items" if comparison.model else NOT_RUN
    return f"{comparison.pair} · reported for {comparison.reported_model}, not reproduced here · measured on {comparison.env}: {here}"


def _cells(row: ComparedRow) -> tuple[str, ...]:
    return (
        row.name,
        NOT_STATED if row.reported is None else f"{points(row.reported)}{'' if row.stated else ' †'}",
        NOT_RUN if row.measured is None else points(row.measured),
        interval_cell(row.ci95),
        signed_cell(row.gap),
        signed_interval_cell(row.gap95),
        signed_cell(row.reported_lead),
        signed_cell(row.lead),
        signed_interval_cell(row.lead95),
        str(len(row.seeds)) if row.seeds else DASH,
    )


def to_json(comparisons: Sequence[Compared]) -> str:
    """Write one JSON object; scores are shares in 0..1."""
    return (
        json.dumps(
            {"schema": "espl-bench/paper-table/1", "pairs": [asdict(comparison) for comparison in comparisons]},
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )


def to_csv(comparisons: Sequence[Compared]) -> str:
    """Write one line per pair, test and method; missing numbers are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ("pair", "env", "reported_model", "model", "method", "reported", "stated", "measured", "ci_low", "ci_high", "gap", "gap_low")
    writer.writerow((*head, "gap_high", "reported_lead", "lead", "lead_low", "lead_high", "seeds"))
    nothing = (None, None)
    for comparison in comparisons:
        for row in comparison.rows:
            first = (
                comparison.pair,
                comparison.env,
                comparison.reported_model,
                comparison.model,
                row.method,
                row.reported,
                row.stated,
                row.measured,
            )
            gaps = (*(row.ci95 or nothing), row.gap, *(row.gap95 or nothing))
            writer.writerow(csv_cells((*first, *gaps, row.reported_lead, row.lead, *(row.lead95 or nothing), len(row.seeds))))
    return text.getvalue()
