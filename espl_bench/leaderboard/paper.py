"""The paper's comparison beside what was measured here: the same rows and pairs, the gap, and its interval.

What the paper reports is data with a source for every figure (results/paper.json); nothing of it was reproduced by writing it down. It
gives no spread, so a gap's interval is that of the measured score alone. Scores of other models differ for that reason already;
E-SPL's lead over each method stands beside them, because it is what the paper claims.
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
from espl_bench.leaderboard.grouping import GroupEntry, TestGroup, group
from espl_bench.leaderboard.layout import Sheet, TableLayout, interval_cell, signed_cell, signed_interval_cell
from espl_bench.stats import Interval, difference_interval, mean_interval
from espl_bench.utils.formatting import DASH, points
from espl_bench.utils.validation import FrozenRecord, first_fault

ROWS = (
    ("base", "base"),
    ("self-reflection", "reflection_only"),
    ("evolution", "evolution_only"),
    ("RL (GRPO)", "rl_only"),
    ("E-SPL", "espl"),
)
"""The paper's names, in its order, and the methods here."""
LEADER = "espl"
NOT_RUN = "not run"
"""Stands where nobody has run a method."""
NOT_STATED = "not stated"
LEGEND = (
    "Success rates in percent. Reported: the paper's figure, not reproduced here; †: not stated there as a number. Gap: measured minus "
    "reported; the paper gives no spread, so its interval is that of the measured score, over seeds and items. Lead: E-SPL minus the "
    "method, measured on the seeds that both have."
)


class Figure(FrozenRecord):
    """One reported number."""

    method: str
    value: float
    """Percent."""
    variant: str | None = None
    """Where the paper has several for one method; the first of a method is its headline."""
    source: str
    stated: bool
    """Whether the paper's text states the number."""


class PaperPair(FrozenRecord):
    """One training and test set of the paper."""

    name: str
    env: str
    """The environment that is this pair here."""
    model: str
    figures: tuple[Figure, ...]

    def figures_of(self, method: str) -> tuple[Figure, ...]:
        """All variants, the headline first."""
        return tuple(figure for figure in self.figures if figure.method == method)


class Paper(FrozenRecord):
    """What a paper reports."""

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
    """One method of one pair. Shares in 0..1; None where there is no number."""

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
    """One pair, and one test of it that was run here."""

    pair: str
    env: str
    """With its options, where it was run."""
    reported_model: str
    model: str | None
    """None: nobody has run the pair."""
    k: int | None
    n_items: int | None
    rows: tuple[ComparedRow, ...]
    notes: tuple[str, ...]


def reported_file() -> Path:
    """Where the paper's figures lie: in a checkout's results/, or inside an installed package."""
    checkout = Path(__file__).parents[2] / "results" / "paper.json"
    return checkout if checkout.exists() else Path(__file__).with_name("paper.json")


def read_paper(path: Path) -> Paper:
    """Read reported figures. Raises RunDirError naming the file and the entry."""
    try:
        with reading(path, "restore it from version control"):
            return Paper.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunDirError(f"{path}: {first_fault(error)}; restore it") from error


def compare_with_paper(paper: Paper, entries: Iterable[GroupEntry]) -> tuple[Compared, ...]:
    """Every pair, once for each test that was run on its environment, and once without if there is none."""
    plain = [entry for entry in entries if entry.summary.control is None]
    tests = group(plain) if plain else ()
    found: list[Compared] = []
    for pair in paper.pairs:
        own = [test for test in tests if any(run.env == pair.env for method in test.methods.values() for run in method.runs.values())]
        found.extend(_compared(pair, test) for test in own or (None,))
    return tuple(found)


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
    own = test.methods.get(method) if test else None
    ci95 = mean_interval(own.cells_RI) if own else None
    shared = test.shared(LEADER, method) if test and own and method != LEADER and LEADER in test.methods else ()
    ours = (test.methods[LEADER].on(shared), own.on(shared)) if test and own and shared else None
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
        yield f"nobody has run {pair.env} yet: espl-bench compare --env {pair.env} --preset paper, then espl-bench results add"
    elif test.model != pair.model:
        yield f"measured with {test.model}, reported for {pair.model}: a gap is one of models as much as of methods"
    for name, method in ROWS:
        for place, figure in enumerate(pair.figures_of(method)):
            variant = f", {figure.variant}" if figure.variant else ""
            if place or variant or not figure.stated:
                yield f"{name}{variant}: {figure.value:.1f}, {figure.source}"


def paper_sheets(found: Sequence[Compared]) -> list[Sheet]:
    """One sheet per pair and test."""
    headings = ("method", "reported", "measured", "95 % CI", "gap", "95 % CI", "lead,\nreported", "lead,\nmeasured", "95 % CI", "seeds")
    return [Sheet(_caption(each), (TableLayout(headings, tuple(map(_cells, each.rows)), frozenset()),), each.notes) for each in found]


def _caption(each: Compared) -> str:
    here = f"{each.model}, avg@{each.k} over {each.n_items:,} items" if each.model else NOT_RUN
    return f"{each.pair} · reported for {each.reported_model}, not reproduced here · measured on {each.env}: {here}"


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


def to_json(found: Sequence[Compared]) -> str:
    """One JSON object; scores are shares in 0..1."""
    return (
        json.dumps({"schema": "espl-bench/paper-table/1", "pairs": [asdict(each) for each in found]}, indent=2, ensure_ascii=False) + "\n"
    )


def to_csv(found: Sequence[Compared]) -> str:
    """One line per pair, test and method; empty where there is no number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ("pair", "env", "reported_model", "model", "method", "reported", "stated", "measured", "ci_low", "ci_high", "gap", "gap_low")
    writer.writerow((*head, "gap_high", "reported_lead", "lead", "lead_low", "lead_high", "seeds"))
    nothing = (None, None)
    for each in found:
        for row in each.rows:
            first = (each.pair, each.env, each.reported_model, each.model, row.method, row.reported, row.stated, row.measured)
            gaps = (*(row.ci95 or nothing), row.gap, *(row.gap95 or nothing))
            writer.writerow((*first, *gaps, row.reported_lead, row.lead, *(row.lead95 or nothing), len(row.seeds)))
    return text.getvalue()
