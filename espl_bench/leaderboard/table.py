"""Compute a table of methods with statistics from the runs of one test: pure functions without I/O.

Every random draw has its own generator, seeded by its purpose, so a table is reproducible and adding a method changes no
score or interval of another row. What is claimed of all methods at once does depend on their number: ranks, ≈ and corrected p-values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from espl_bench.leaderboard.comparisons import Comparisons, contender_comparisons, control_comparisons
from espl_bench.leaderboard.control_notes import control_notes
from espl_bench.leaderboard.grouping import GroupEntry, MethodRuns, TestGroup, group, mean
from espl_bench.leaderboard.notes import notes_of
from espl_bench.leaderboard.row_notes import row_notes
from espl_bench.leaderboard.seed_notes import seed_notes
from espl_bench.runs.summary import Summary
from espl_bench.seeding import rng_for
from espl_bench.stats import Interval, PairedDifference, mean_interval, mean_pass_at_k, paired_difference, rank_ranges

__all__ = ["Cost", "CurveRow", "GroupEntry", "Table", "TableRow", "build_tables", "tabulate"]

STATISTICS_SEED = 20_260_226
"""Seed of every draw of a table. Fixed, so that tables are reproducible."""
DRAWS = 10_000
"""Number of sign flips of a permutation test."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Mean cost of a method, per run."""

    steps: float
    rollouts: float
    generated_tokens: float
    reflection_tokens: float
    eval_tokens: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class PartCell:
    """A method's test score on one part of an environment that has several."""

    score: float
    """Mean over the seeds."""
    ci95: Interval
    """Interval over seeds and the part's items."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """Row of one method. Scores are shares in 0..1."""

    method: str
    seeds: tuple[int, ...]
    score: float
    """Mean test score over the seeds."""
    ci95: Interval
    """Interval over seeds and items."""
    pass_at: dict[int, float]
    """Unbiased pass@k for k = 1, 2, 4, … and the number of samples."""
    rank: tuple[int, int] | None
    """Best and worst rank that the comparisons of all pairs leave open; None for a control."""
    difference: PairedDifference | None
    """This method minus the table's reference on the seeds that both have; None for the reference or without a shared seed."""
    paired_seeds: tuple[int, ...]
    """Seeds of `difference`."""
    p_corrected: float | None
    """P-value of `difference`, corrected for all pairs of the table; None for the reference, a control, or fewer than two shared seeds."""
    below_noise: bool | None
    """True if this method and the best are not separated, corrected for all pairs; None for the best, or without a shared seed."""
    validation: float | None
    """Mean over the seeds; None for an environment without a validation split."""
    outcomes: dict[str, float]
    """Mean share of each outcome among the test samples."""
    cost: Cost
    parts: dict[str, PartCell] = field(default_factory=dict[str, PartCell])
    """By part of the environment; empty if it has none."""
    mean_of_parts: float | None = None
    """Mean over the parts, each with the same weight; None if there are none."""


@dataclass(frozen=True, slots=True)
class CurveRow:
    """Mean score of each method at one evaluation."""

    step: int
    split: str
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Table:
    """Methods with the same test."""

    env: str
    model: str
    k: int
    """Samples per item."""
    n_items: int
    reference: str
    best: str
    separated: bool
    """True if the best method is better than every other beyond the noise, corrected for all pairs; else no method is."""
    seeds: tuple[int, ...]
    """Every seed that any method has."""
    rows: tuple[TableRow, ...]
    """Best score first."""
    curve: tuple[CurveRow, ...]
    notes: tuple[str, ...]
    """Facts to know before comparing rows."""


def build_tables(entries: Iterable[GroupEntry], reference: str | None = None) -> tuple[Table, ...]:
    """Make one table per test, in order of environment and model.

    Args:
        entries: the runs, in any order.
        reference: method that differences are taken against; None: base, or the first by name if there is no base.

    Raises UsageError or RunDirError as :func:`~espl_bench.leaderboard.grouping.group` does.
    """
    return tuple(tabulate(test, reference) for test in group(entries, reference))


def tabulate(test: TestGroup, wanted: str | None) -> Table:
    """Compute the table of one test."""
    reference = test.reference(wanted)
    contenders = contender_comparisons(test)
    controls = control_comparisons(test, test.contenders[0])
    better = contenders.matrix(test.contenders)
    ranks = dict(zip(test.contenders, rank_ranges(better), strict=True))
    runs = {label: method.runs for label, method in test.methods.items()}
    return Table(
        env=test.env,
        model=test.model,
        k=test.k,
        n_items=test.n_items,
        reference=reference,
        best=test.contenders[0],
        separated=len(better) > 1 and bool(better[0, 1:].all()),
        seeds=tuple(sorted({seed for of_method in runs.values() for seed in of_method})),
        rows=tuple(_row(label, test, reference, contenders if label in ranks else controls, ranks.get(label)) for label in test.methods),
        curve=_curve(test.methods),
        notes=(*control_notes(test), *seed_notes(test), *notes_of(runs, reference), *row_notes(test)),
    )


def _row(label: str, test: TestGroup, reference: str, compared: Comparisons, rank: tuple[int, int] | None) -> TableRow:
    method = test.methods[label]
    runs = tuple(method.runs.values())
    best = test.contenders[0]
    to_best = label != best and bool(test.shared(best, label))
    seeds = test.shared(label, reference) if label != reference else ()
    outcomes = sorted({outcome for run in runs for outcome in run.outcomes})
    known = [run.validation_score for run in runs if run.validation_score is not None]
    return TableRow(
        method=label,
        seeds=tuple(method.runs),
        score=method.score,
        ci95=mean_interval(method.cells_RI),
        pass_at={k: mean_pass_at_k(method.samples_RIK, k) for k in _powers(test.k)},
        rank=rank,
        difference=_difference(test, label, reference, seeds) if seeds else None,
        paired_seeds=seeds,
        p_corrected=compared.p(label, reference) if rank else None,
        below_noise=not compared.differ(best, label) if to_best else None,
        validation=mean(known) if known else None,
        outcomes={outcome: mean(run.outcomes.get(outcome, 0.0) for run in runs) for outcome in outcomes},
        cost=_cost(runs),
        parts=(parts := _parts(method)),
        mean_of_parts=mean(part.score for part in parts.values()) if parts else None,
    )


def _parts(method: MethodRuns) -> dict[str, PartCell]:
    """Score each part that all runs of a method have, which is every part: their tests are the same."""
    first, *others = method.runs.values()
    if any(run.part_items != first.part_items for run in others):
        return {}
    of_parts = {name: method.cells_RI[:, items.start : items.stop] for name, items in first.part_items.items()}
    return {name: PartCell(float(cells_RI.mean()), mean_interval(cells_RI)) for name, cells_RI in of_parts.items()}


def _difference(test: TestGroup, a: str, b: str, seeds: Sequence[int]) -> PairedDifference:
    rng = rng_for(STATISTICS_SEED, "permutation", a, b)
    return paired_difference(test.methods[a].on(seeds), test.methods[b].on(seeds), rng, DRAWS)


def _powers(samples: int) -> list[int]:
    """List 1, 2, 4, … below the number of samples, and that number."""
    return [*(2**power for power in range(samples.bit_length()) if 2**power < samples), samples]


def _cost(runs: Sequence[Summary]) -> Cost:
    return Cost(
        steps=mean(run.steps for run in runs),
        rollouts=mean(run.ledger.rollouts for run in runs),
        generated_tokens=mean(run.ledger.generated_tokens for run in runs),
        reflection_tokens=mean(run.ledger.reflection_tokens for run in runs),
        eval_tokens=mean(run.ledger.eval_tokens for run in runs),
        wall_s=mean(run.ledger.wall_s for run in runs),
    )


def _curve(methods: Mapping[str, MethodRuns]) -> tuple[CurveRow, ...]:
    """Average the score of each method at each evaluation that all its seeds have."""
    cells: dict[tuple[str, int], dict[str, list[float]]] = {}
    for label, method in methods.items():
        for run in method.runs.values():
            for point in run.curve:
                cells.setdefault((point.split, point.step), {}).setdefault(label, []).append(point.score)
    order = sorted(cells, key=lambda key: (key[0] == "test", key[1]))
    return tuple(
        CurveRow(
            step, split, {label: mean(scores) for label, scores in cells[split, step].items() if len(scores) == len(methods[label].runs)}
        )
        for split, step in order
    )
