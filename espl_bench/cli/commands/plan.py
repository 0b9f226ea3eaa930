"""`plan`: estimate what it takes to separate a gap, from the noise of existing runs."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from espl_bench.cli.console import out_console, write_json
from espl_bench.errors import RunDirError, UsageError, unknown
from espl_bench.leaderboard.collect import collect
from espl_bench.leaderboard.grouping import TestGroup, group
from espl_bench.leaderboard.layout import Sheet, TableLayout, signed_cell
from espl_bench.leaderboard.pairing import like_pairs
from espl_bench.leaderboard.power import MOST_SEEDS, Design, PowerPlan, plan
from espl_bench.leaderboard.render import sheets_to_screen
from espl_bench.utils.formatting import count, duration, points

LEGEND = (
    "Costs cover both methods: training, reflections, evaluations and the final test, one run after the other on the machine of the "
    "existing runs. Separates: the smallest gap whose 95 % interval excludes 0 in four of five experiments, for this pair alone; a table "
    "of more methods is corrected for all its pairs and separates less. The noise is an estimate; with few seeds it may be wrong by half."
)
MANY_ITEMS = 1_000_000
"""Used in place of infinitely many items."""
SHOWN = 8
"""Number of designs shown on the screen; --json prints all."""


def parse_gap(text: str) -> float:
    """Parse ``3pp``, ``3`` or ``0.03`` to 0.03. Raises UsageError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(pp|points?|%)?\s*", text)
    if not match:
        raise UsageError(f"--detect takes percentage points, e.g. 3pp, not '{text}'")
    number = float(match[1])
    gap = number if not match[2] and number < 1 else number / 100
    if not 0 < gap < 1:
        raise UsageError(f"--detect must lie between 0 and 100 points, not '{text}'")
    return gap


def print_plan(paths: Sequence[Path], env: str, gap: float, methods: str | None, items: int | None, as_json: bool) -> None:
    """Estimate the noise, plan, and print the plan. Raises EsplError."""
    power_plans = list(plans(paths, env, gap, methods, items))
    if as_json:
        write_json(json.dumps({"schema": "espl-bench/plan/1", "plans": [asdict(plan) for plan in power_plans]}, indent=2) + "\n")
        return
    console = out_console()
    console.print(sheets_to_screen([plan_sheet(plan) for plan in power_plans], console.width, LEGEND))


def plans(paths: Sequence[Path], env: str, gap: float, methods: str | None, items: int | None) -> Iterator[PowerPlan]:
    """Plan for each test of an environment, and for each pair of like configurations of the two methods.

    An environment is named as tables name it, e.g. ``rulebook(world=7)``. A plain name means the tests with default options, and those with
    any options only where there are none.

    Raises EsplError for unknown names or too few runs.
    """
    entries = collect(paths).entries
    groups = group(entries)
    tests = [test for test in groups if test.env == env] or [test for test in groups if _env_of(test) == env]
    if not tests:
        raise unknown("environment with runs", env, {test.env for test in groups}) if entries else RunDirError("no finished run")
    for test in tests:
        pairs = _pairs(test, methods)
        enough = [(a, b) for a, b in pairs if len(test.shared(a, b)) > 1]
        if not enough:
            a, b = pairs[0]
            raise UsageError(
                f"{a} and {b} share {len(test.shared(a, b))} seed on {test.env}; at least two are needed to estimate the noise"
            )
        for a, b in enough:
            yield plan(test, a, b, gap, [items] if items else sorted({max(2, test.n_items // 2), test.n_items}))


def _env_of(test: TestGroup) -> str:
    return next(run.env for method in test.methods.values() for run in method.runs.values())


def _pairs(test: TestGroup, methods: str | None) -> list[tuple[str, str]]:
    """Return the rows of the named methods, a pair per like configuration; without names, the two best rows."""
    if methods is None:
        if len(test.contenders) < 2:
            raise UsageError(f"{test.env} has runs of one method only; a plan compares two")
        return [(test.contenders[0], test.contenders[1])]
    named = [name.strip() for name in methods.split(",")]
    if len(named) != 2 or named[0] == named[1]:
        raise UsageError(f"--methods takes two comma-separated methods, not '{methods}'")
    for name in named:
        if not test.named(name):
            raise unknown(f"method with runs on {test.env}", name, test.methods)
    if not (pairs := like_pairs(test, *named)):
        rows = ", ".join(label for name in named for label in test.named(name))
        raise UsageError(f"no configurations of {named[0]} and {named[1]} on {test.env} are alike; name two of: {rows}")
    return pairs


def plan_sheet(plan: PowerPlan) -> Sheet:
    """Lay out the cheapest designs and the estimates behind them."""
    title = f"{plan.env} · {plan.model} · {plan.a} against {plan.b}: to separate {points(plan.gap)} points"
    headings = ("seeds", "items", "samples", "separates", "rollouts", "tokens", "time")
    grid = TableLayout(headings, tuple(map(_cells, plan.designs[:SHOWN])), frozenset())
    noise = ", ".join(f"{name} {points(value**0.5)}" for name, value in asdict(plan.noise).items())
    notes = [
        f"now: {signed_cell(plan.measured)} points on {plan.seeds} seeds, enough to separate {points(plan.detects_now)}",
        f"standard deviations of the difference, in points: {noise}",
    ]
    if not plan.designs:
        with_all = plan.noise.detects(MOST_SEEDS, MANY_ITEMS, 1)
        more = "more items would; see --items" if with_all <= plan.gap else "more items would not help either: the seeds differ too much"
        notes.append(f"no design with up to {MOST_SEEDS} seeds separates it; {more}")
    return Sheet(title, (grid,) if plan.designs else (), tuple(notes))


def _cells(design: Design) -> tuple[str, ...]:
    numbers = (str(design.seeds), f"{design.items:,}", str(design.samples), f"{points(design.detects)} points")
    return (*numbers, count(design.rollouts), count(design.tokens), duration(design.hours * 3600))
