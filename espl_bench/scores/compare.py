"""Compare the methods of a test: intervals, paired differences, ranks that are corrected for all pairs, and what the scores can separate.

With two runs or more of a method, intervals are over runs and items, as in our own tables. With one run each they are over items alone,
and so are the ranks: they say nothing about other training runs, and the table says that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from espl_bench.errors import unknown
from espl_bench.leaderboard.comparisons import Comparisons, PairResult, compare_all
from espl_bench.leaderboard.table import DRAWS, STATISTICS_SEED
from espl_bench.scores.arrange import MethodScores, ScoredTest
from espl_bench.scores.design import noise_of
from espl_bench.seeding import rng_for
from espl_bench.stats import (
    Interval,
    PairedDifference,
    difference_p,
    mean_interval,
    mean_pass_at_k,
    paired_difference,
    rank_ranges,
)


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One method. Scores are in the units of the files."""

    method: str
    runs: tuple[str, ...]
    score: float
    ci95: Interval
    rank: tuple[int, int] | None
    """Best and worst rank that the comparisons of all pairs leave open; None if it shares too few runs with some other."""
    difference: PairedDifference | None
    """This method minus the reference on the runs that both have; None for the reference, or without a shared run."""
    p_corrected: float | None
    """P-value of `difference`, corrected for all pairs of the test."""
    below_noise: bool | None
    """True if this method and the best are not separated, corrected for all pairs; None for the best."""
    separates: float | None
    """Smallest difference to the reference that these scores separate in four of five studies, for this pair alone."""
    pass_at_k: float | None
    """Unbiased, for the number of samples; None for scores that are not 0 or 1, or where some sample failed."""
    failed: int


@dataclass(frozen=True, slots=True)
class ScoredTable:
    """The methods of one test."""

    test: str
    items: int
    samples: int
    reference: str
    best: str
    separated: bool
    """True if the best is better than every other, corrected for all pairs."""
    over_runs: bool
    """True if intervals and ranks are over runs and items; False: over items alone."""
    in_shares: bool
    """True if scores lie in 0..1."""
    rows: tuple[ScoredRow, ...]
    """Best score first."""
    notes: tuple[str, ...]


def tabulate_scores(test: ScoredTest, wanted: str | None) -> ScoredTable:
    """Compare the methods of a test with each other, and with a reference. Raises UsageError for a reference that is not there."""
    labels = tuple(test.methods)
    if wanted is not None and wanted not in labels:
        raise unknown(f"method with scores on {test.name or 'the test'}", wanted, labels)
    reference = wanted or ("base" if "base" in labels else min(labels))
    over_runs = max(len(scores.runs) for scores in test.methods.values()) > 1
    compared = _comparisons(test, over_runs)
    better = compared.matrix(labels)
    ranks = dict(zip(labels, rank_ranges(better), strict=True))
    return ScoredTable(
        test=test.name,
        items=len(test.items),
        samples=test.samples,
        reference=reference,
        best=labels[0],
        separated=len(labels) > 1 and bool(better[0, 1:].all()),
        over_runs=over_runs,
        in_shares=test.in_shares,
        rows=tuple(_row(test, label, reference, compared, ranks[label]) for label in labels),
        notes=(*test.notes, *_notes(test, over_runs)),
    )


def _row(test: ScoredTest, label: str, reference: str, compared: Comparisons, rank: tuple[int, int]) -> ScoredRow:
    scores, labels = test.methods[label], tuple(test.methods)
    runs = test.shared(label, reference) if label != reference else ()
    ours, theirs = (test.methods[each].on(runs) for each in (label, reference)) if runs else (None, None)
    met = [other for other in labels if other != label and compared.p(label, other) is not None]
    return ScoredRow(
        method=label,
        runs=scores.runs,
        score=scores.score,
        ci95=mean_interval(scores.cells_RI),
        rank=rank if met else None,
        difference=_difference(ours, theirs, label, reference) if ours is not None and theirs is not None else None,
        p_corrected=compared.p(label, reference),
        below_noise=not compared.differ(labels[0], label) if label != labels[0] and compared.p(labels[0], label) is not None else None,
        separates=_separates(test, label, reference) if runs else None,
        pass_at_k=_pass_at_k(test, scores),
        failed=scores.failed,
    )


def _difference(ours: NDArray[np.float64], theirs: NDArray[np.float64], a: str, b: str) -> PairedDifference:
    return paired_difference(ours, theirs, rng_for(STATISTICS_SEED, "permutation", a, b), DRAWS)


def _pass_at_k(test: ScoredTest, scores: MethodScores) -> float | None:
    """Return pass@k; None for scores that are not all 0 or 1, or where some sample failed."""
    samples = scores.samples_RIK
    known = samples.shape[1] == len(test.items) and bool(np.isin(samples, (0.0, 1.0)).all())
    return mean_pass_at_k(samples, test.samples) if known else None


def _comparisons(test: ScoredTest, over_runs: bool) -> Comparisons:
    """Compare all pairs: over runs and items, which needs two shared runs, or over the items of one run each."""

    def compare(a: str, b: str) -> PairResult | None:
        runs = test.shared(a, b)
        if len(runs) < (2 if over_runs else 1) or len(test.items) < 2:
            return None
        ours, theirs = test.methods[a].on(runs), test.methods[b].on(runs)
        return PairResult(float((ours - theirs).mean()), difference_p(ours, theirs))

    return compare_all(combinations(test.methods, 2), compare)


def _separates(test: ScoredTest, a: str, b: str) -> float | None:
    noise = noise_of(test, a, b)
    return None if noise is None else noise.detects(len(test.shared(a, b)), len(test.items), test.samples)


def _notes(test: ScoredTest, over_runs: bool) -> Iterator[str]:
    if not over_runs:
        yield "one run of each method: intervals and ranks are over items alone, and say nothing about other training runs"
    single = [label for label, scores in test.methods.items() if len(scores.runs) == 1]
    if over_runs and single:
        yield f"one run of {', '.join(single)}: no rank, and an interval over items alone"
    apart = [f"{a} and {b}" for a, b in combinations(test.methods, 2) if not test.shared(a, b)]
    if apart:
        yield f"no shared run, so not paired: {'; '.join(apart)}; give runs of one seed one name: NAME@SEED=FILE"
