"""Summaries to tables of methods with statistics: pure functions, nothing is read or printed.

Runs are comparable only on the same test: one table per (environment, model, samples per item, number of items). Inside
a table a method's runs are a (seeds, items) matrix of item scores, and stats.py does the rest. Every bootstrap has its
own generator, named by what it is for, so a table is the same every time and adding a method changes no other row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espl_bench.errors import RunDirError, UsageError
from espl_bench.leaderboard.notes import notes_of
from espl_bench.seeding import rng_for
from espl_bench.stats import PairedDifference, bootstrap_ci, paired_difference
from espl_bench.summary import Summary

STATISTICS_SEED = 20_260_226
"""Seed of every bootstrap of a table. Fixed, so that tables are reproducible."""
DRAWS = 10_000
"""Bootstrap replications."""
LEVEL = 0.95
REFERENCE = "base"
"""The method that differences are taken against unless another is named."""

Runs = Mapping[int, Summary]
"""The runs of one method, by seed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One run as a table sees it."""

    label: str
    """The row it belongs to: the method's name, with the folder's added where one name stands for two configurations."""
    summary: Summary


@dataclass(frozen=True, slots=True)
class Cost:
    """Means per run of what a method spent."""

    steps: float
    rollouts: float
    generated_tokens: float
    reflection_tokens: float
    eval_tokens: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Row:
    """One method. Scores are shares in 0..1."""

    method: str
    seeds: tuple[int, ...]
    score: float
    """Mean test score over the seeds."""
    ci95: tuple[float, float]
    """Bootstrap over seeds and items."""
    difference: PairedDifference | None
    """This method minus the table's reference on the seeds both have; None for the reference itself or without such a seed."""
    paired_seeds: tuple[int, ...]
    """The seeds of `difference`."""
    below_noise: bool | None
    """Whether the interval of the paired difference to the best method contains 0; None for the best itself, or without a shared seed."""
    validation: float | None
    """Mean over the seeds; None for an environment without a validation split."""
    outcomes: dict[str, float]
    """Mean share of each outcome among the test samples."""
    cost: Cost


@dataclass(frozen=True, slots=True)
class CurveRow:
    """The mean score of each method at one evaluation."""

    step: int
    split: str
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Table:
    """The methods that met the same test."""

    env: str
    model: str
    k: int
    """Samples per item."""
    n_items: int
    reference: str
    best: str
    seeds: tuple[int, ...]
    """Every seed that any method has."""
    rows: tuple[Row, ...]
    """Best score first."""
    curve: tuple[CurveRow, ...]
    notes: tuple[str, ...]
    """What a reader must know before comparing rows."""


def build_tables(entries: Iterable[Entry], reference: str | None = None) -> tuple[Table, ...]:
    """One table per test, in order of environment and model.

    Args:
        entries: the runs, in any order.
        reference: the method that differences are taken against; None: base, or the first label met where there is no base.

    Raises:
        UsageError: no table has the reference.
        RunDirError: two runs share label and seed, or runs of one test disagree about its items.
    """
    tests: dict[tuple[str, str, int, int], dict[str, dict[int, Summary]]] = {}
    for entry in entries:
        summary = entry.summary
        methods = tests.setdefault((summary.environment, summary.model, summary.k, summary.n_items), {})
        if methods.setdefault(entry.label, {}).setdefault(summary.seed, summary) is not summary:
            raise RunDirError(f"two runs of {entry.label} have seed {summary.seed} on the same test; name only one of them")
    if reference is not None and all(reference not in methods for methods in tests.values()):
        known = ", ".join(sorted({label for methods in tests.values() for label in methods}))
        raise UsageError(f"no run of method '{reference}' to compare with; there are: {known or 'none'}")
    return tuple(_table(*key, methods, reference) for key, methods in sorted(tests.items(), key=lambda item: item[0]))


def _table(env: str, model: str, k: int, n_items: int, methods: Mapping[str, Runs], wanted: str | None) -> Table:
    candidates = (wanted, REFERENCE, *methods)
    reference = next(label for label in candidates if label is not None and label in methods)
    methods = {label: dict(sorted(runs.items())) for label, runs in methods.items()}
    means = {label: _mean(run.score for run in runs.values()) for label, runs in methods.items()}
    ranked = sorted(methods, key=lambda label: (-means[label], label))
    methods = {label: methods[label] for label in ranked}
    return Table(
        env=env,
        model=model,
        k=k,
        n_items=n_items,
        reference=reference,
        best=ranked[0],
        seeds=tuple(sorted({seed for runs in methods.values() for seed in runs})),
        rows=tuple(_row(label, methods, reference, ranked[0]) for label in ranked),
        curve=_curve(methods),
        notes=notes_of(methods, reference),
    )


def _row(label: str, methods: Mapping[str, Runs], reference: str, best: str) -> Row:
    runs = methods[label]
    seeds = tuple(sorted(runs))
    cells = _matrix(runs, seeds)[:, :, None]
    difference = _difference(label, reference, methods)
    to_best = _difference(best, label, methods)
    outcomes = sorted({outcome for run in runs.values() for outcome in run.outcomes})
    return Row(
        method=label,
        seeds=seeds,
        score=_mean(run.score for run in runs.values()),
        ci95=bootstrap_ci(cells, rng_for(STATISTICS_SEED, "score", label), LEVEL, DRAWS),
        difference=difference,
        paired_seeds=_shared(methods, label, reference) if difference else (),
        below_noise=None if to_best is None else to_best.low <= 0.0 <= to_best.high,
        validation=_mean_known([run.validation_score for run in runs.values()]),
        outcomes={outcome: _mean(run.outcomes.get(outcome, 0.0) for run in runs.values()) for outcome in outcomes},
        cost=_cost(tuple(runs.values())),
    )


def _difference(a: str, b: str, methods: Mapping[str, Runs]) -> PairedDifference | None:
    """How much better a is than b on the seeds both have; None for a method and itself, or without such a seed."""
    seeds = _shared(methods, a, b)
    if a == b or not seeds:
        return None
    rng = rng_for(STATISTICS_SEED, "difference", a, b)
    return paired_difference(_matrix(methods[a], seeds), _matrix(methods[b], seeds), rng, LEVEL, DRAWS)


def _shared(methods: Mapping[str, Runs], a: str, b: str) -> tuple[int, ...]:
    return tuple(sorted(methods[a].keys() & methods[b].keys()))


def _matrix(runs: Runs, seeds: Sequence[int]) -> NDArray[np.float64]:
    """The (seeds, items) scores."""
    for seed in seeds:
        if len(runs[seed].item_scores) != runs[seed].n_items:
            found = len(runs[seed].item_scores)
            raise RunDirError(f"run {runs[seed].run_id} has {found} item scores for {runs[seed].n_items} items; write its summary anew")
    return np.asarray([runs[seed].item_scores for seed in seeds], dtype=np.float64)


def _cost(runs: Sequence[Summary]) -> Cost:
    return Cost(
        steps=_mean(run.steps for run in runs),
        rollouts=_mean(run.ledger.rollouts for run in runs),
        generated_tokens=_mean(run.ledger.generated_tokens for run in runs),
        reflection_tokens=_mean(run.ledger.reflection_tokens for run in runs),
        eval_tokens=_mean(run.ledger.eval_tokens for run in runs),
        wall_s=_mean(run.ledger.wall_s for run in runs),
    )


def _curve(methods: Mapping[str, Runs]) -> tuple[CurveRow, ...]:
    """Mean score of each method at each evaluation that all its seeds have."""
    cells: dict[tuple[str, int], dict[str, list[float]]] = {}
    for label, runs in methods.items():
        for run in runs.values():
            for point in run.curve:
                cells.setdefault((point.split, point.step), {}).setdefault(label, []).append(point.score)
    order = sorted(cells, key=lambda key: (key[0] == "test", key[1]))
    return tuple(
        CurveRow(step, split, {label: _mean(scores) for label, scores in cells[split, step].items() if len(scores) == len(methods[label])})
        for split, step in order
    )


def _mean(values: Iterable[float]) -> float:
    listed = [float(value) for value in values]
    return sum(listed) / len(listed)


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if known else None
