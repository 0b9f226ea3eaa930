"""Statistics of scores: pure functions of arrays, each with the generator passed in where one is needed.

Axes in names: ``_R`` runs (training seeds), ``_I`` test items, ``_K`` samples of an item, ``_E`` environments.

Runs and items are *crossed*: every run meets the same items. A mean over both varies with the luck of the training
seeds and with the luck of the items, and three to five seeds say little of the first. The hierarchical bootstrap (seeds,
then items, then samples) asks the right question, but in its plain form it is far too confident with few seeds
(docs/statistics.md measures it). So intervals are built from its variances, which have a closed form and are widened for small
numbers of seeds and items; they are studentised with the few degrees of freedom that the runs leave, and intervals of scores in
0..1 are on the log-odds scale. Samples of an item are averaged first: the spread of the averages already includes their noise. With one
run only the items vary; such an interval says nothing about other training runs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, stdtr, stdtrit  # pyright: ignore[reportMissingTypeStubs]

Scores = NDArray[np.float64]
Interval = tuple[float, float]

LEVEL = 0.95
"""Coverage that every interval aims at."""
EXACT_UNTIL = 12
"""Largest number of items for which a permutation test enumerates all sign flips instead of sampling some."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much better a is than b on the same seeds and items, in units of the scores."""

    mean: float
    low: float
    high: float
    """``low`` to ``high`` is the interval of the mean difference over seeds and items, for this pair alone."""
    p_improvement: float
    """Probability that a run of a scores above a run of b, ties counting half."""
    p_permutation: float
    """Two-sided, over the items, and about these training runs only."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """Estimate, without bias, the probability that at least one of k samples is correct, from n samples of one item with c correct.

    1 - C(n-c, k) / C(n, k); Chen et al. 2021 (arXiv 2107.03374), equation 1, in exact integers.
    Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n} c={c} k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def mean_pass_at_k(scores_RIK: ArrayLike, k: int) -> float:
    """Average :func:`pass_at_k` over runs and items; a sample is correct if its reward is 1."""
    correct_RI = (_scores(scores_RIK, 3) >= 1.0).sum(axis=2)
    n = np.shape(scores_RIK)[2]
    by_count = np.asarray([pass_at_k(n, c, k) for c in range(n + 1)])
    return float(by_count[correct_RI].mean())


def mean_interval(cells_RI: ArrayLike) -> Interval:
    """Return the 95 % interval of the mean score over training seeds and items; samples are averaged.

    Scores in 0..1 get it on the log-odds scale by the delta method, as surveys do for clustered proportions: it stays inside,
    reaches further towards the middle, and covers near the ends, where a few hard or easy items decide. Where all scores
    are 0, or all are 1, it is that of as many independent trials as there are items, or runs if they are more. Other scores
    get the plain mean ± half width.

    Raises ValueError for a wrong number of axes, an empty axis or a value that is not finite.
    """
    cells = _scores(cells_RI, 2)
    mean, half = float(cells.mean()), math.sqrt(_squared_half_width(cells))
    if cells.min() < 0.0 or cells.max() > 1.0:
        return mean - half, mean + half
    if math.isinf(half):
        return 0.0, 1.0
    unseen = 1.0 - ((1.0 - LEVEL) / 2) ** (1 / max(cells.shape))  # Clopper-Pearson with no success
    if mean <= 0.0:
        return 0.0, unseen
    if mean >= 1.0:
        return 1.0 - unseen, 1.0
    centre, half = float(logit(mean)), half / (mean * (1.0 - mean))
    return min(mean, float(expit(centre - half))), max(mean, float(expit(centre + half)))


def paired_difference(a_RI: ArrayLike, b_RI: ArrayLike, rng: np.random.Generator, draws: int = 10_000) -> PairedDifference:
    """Compare two methods run on the same training seeds and the same items, samples averaged.

    Row r and column i refer to the same seed and item in both matrices. `rng` and `draws` are the permutation test's.
    Raises ValueError if shapes differ, or as for :func:`mean_interval`.
    """
    a, b = _pair(a_RI, b_RI)
    low, high = difference_interval(a, b)
    return PairedDifference(
        mean=float((a - b).mean()),
        low=low,
        high=high,
        p_improvement=p_improvement(a.mean(axis=1)[:, None], b.mean(axis=1)[:, None]),
        p_permutation=permutation_p((a - b).mean(axis=0), rng, draws),
    )


def difference_interval(a_RI: ArrayLike, b_RI: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Return the interval of the mean paired difference a - b; infinite for one run of one item. Raises ValueError."""
    a, b = _pair(a_RI, b_RI)
    difference = a - b
    mean, half = float(difference.mean()), math.sqrt(_squared_half_width(difference, level))
    return mean - half, mean + half


def difference_p(a_RI: ArrayLike, b_RI: ArrayLike) -> float:
    """Return the two-sided p-value of equal means: one minus the largest level at which :func:`difference_interval` excludes 0.

    That interval is the widest of several, so its p-value is the largest of theirs. 1 for one run of one item. Raises ValueError.
    """
    a, b = _pair(a_RI, b_RI)
    difference = a - b
    gap = abs(float(difference.mean()))
    return max((_p(gap, variance, freedom) for variance, freedom in _error_terms(difference)), default=1.0)


def interval_p(interval_at: Callable[[float], Interval]) -> float:
    """Return one minus the largest level at which the interval of a level excludes 0, for intervals that grow with their level.

    Bisects to four digits; a p-value below 1e-9 becomes 1e-9.
    """

    def excludes(exponent: float) -> bool:
        low, high = interval_at(1.0 - 10.0**exponent)
        return not low <= 0.0 <= high

    outside, inside = 0.0, -9.0
    if excludes(inside):
        return 1e-9
    while outside - inside > 1e-5:
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if excludes(middle) else (outside, middle)
    return 10.0**outside


def ratio_interval(part_RI: ArrayLike, whole_RI: ArrayLike) -> Interval | None:
    """Return the 95 % interval of mean(part) / mean(whole) by Fieller's method: every s for which that of part - s · whole contains 0.

    None if the interval of the whole contains 0: then no ratio is ruled out. Raises ValueError like :func:`difference_interval`.
    """
    part, whole = _pair(part_RI, whole_RI)
    low, high = difference_interval(whole, np.zeros_like(whole))
    if low <= 0.0 <= high:
        return None

    def holds(share: float) -> bool:
        low, high = difference_interval(part, share * whole)
        return low <= 0.0 <= high

    centre = float(part.mean()) / float(whole.mean())
    ends = [_furthest(holds, centre, direction) for direction in (-1.0, 1.0)]
    return ends[0], ends[1]


def _furthest(holds: Callable[[float], bool], centre: float, direction: float) -> float:
    """Return how far from the centre a ratio still holds, to six digits: double until it does not, then bisect."""
    step = 1e-3
    while holds(centre + direction * step) and step < 1e6:
        step *= 2.0
    inner, outer = 0.0, step
    while outer - inner > 1e-7 * max(1.0, outer):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if holds(centre + direction * middle) else (inner, middle)
    return centre + direction * inner


def seed_interval(values_R: ArrayLike) -> Interval | None:
    """Return the 95 % t interval of the mean over training seeds, one number per run; None for one run. Raises ValueError."""
    values = _scores(values_R, 1)
    if len(values) < 2:
        return None
    half = _t(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def permutation_p(differences_I: ArrayLike, rng: np.random.Generator, draws: int = 10_000) -> float:
    """Return the two-sided p-value of a paired permutation test on the mean of per-item differences.

    Under its null hypothesis the two methods could be swapped on any item. Up to 12 items every sign flip is looked at,
    beyond that `draws` random ones and the observed one.
    """
    differences = _scores(differences_I, 1)
    count = len(differences)
    if count <= EXACT_UNTIL:
        bits = np.asarray((np.arange(2**count)[:, None] >> np.arange(count)) & 1, dtype=np.float64)
        extra = 0
    else:
        bits = np.asarray(rng.integers(0, 2, size=(draws, count), dtype=np.int8), dtype=np.float64)
        extra = 1
    # einsum without BLAS: the same bits for any number of threads
    flipped = np.abs(np.einsum("di,i->d", 1.0 - 2.0 * bits, differences, optimize=False))
    observed = abs(float(differences.sum())) - 1e-9 * float(np.abs(differences).sum())  # rounding must not break a tie
    return (int(np.count_nonzero(flipped >= observed)) + extra) / (len(flipped) + extra)


def p_improvement(a_RE: ArrayLike, b_RE: ArrayLike) -> float:
    """Return the probability that a random run of a beats a random run of b on a random environment, ties counting half.

    Agarwal et al. 2021 (arXiv 2108.13264). Raises ValueError unless both have the same environments.
    """
    a, b = _scores(a_RE, 2), _scores(b_RE, 2)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"both need the same environments, got {a.shape[1]} and {b.shape[1]}")
    above = (a[:, None] > b[None]) + 0.5 * (a[:, None] == b[None])
    return float(above.mean())


def iqm(scores_RE: ArrayLike) -> float:
    """Return the interquartile mean of all entries of a (runs, environments) matrix: the lowest and highest quarter are left out.

    Agarwal et al. 2021 (arXiv 2108.13264). A quarter is rounded down to whole entries, as in their library.
    """
    return float(_iqm_rows(_scores(scores_RE, 2).reshape(1, -1))[0])


def iqm_interval(cells_E: Sequence[ArrayLike], rng: np.random.Generator, draws: int = 2000) -> Interval:
    """Return the 95 % interval of the IQM over environments, from bootstrap variances.

    Args:
        cells_E: for each environment a (runs, items) matrix, samples averaged; all with the same number of runs.
        rng: draws, for each environment, runs with replacement and items with replacement.
        draws: bootstrap replications.

    Items alone give one bootstrap variance, runs and items together another; the difference is the runs' part. A bootstrap over
    R runs sees (R - 1) / R of it and takes it as known: a factor and the t quantile with E · (R - 1) degrees of freedom
    correct for both. Raises ValueError for unequal numbers of runs.
    """
    matrices = [_scores(cells, 2) for cells in cells_E]
    runs = matrices[0].shape[0]
    if any(cells.shape[0] != runs for cells in matrices):
        raise ValueError("every environment needs the same number of runs")
    on_drawn_items = [_on_drawn_items(cells, rng, draws) for cells in matrices]
    of_items = _iqm_variance(on_drawn_items)
    squared = _t(max(1, sum(cells.shape[1] - 1 for cells in matrices))) ** 2 * of_items
    if runs > 1:
        of_both = _iqm_variance([np.take_along_axis(means, rng.integers(0, runs, size=means.shape), axis=1) for means in on_drawn_items])
        squared += _t(len(matrices) * (runs - 1)) ** 2 * max(of_both - of_items, 0.0) * runs / (runs - 1)
    centre, half = iqm(np.stack([cells.mean(axis=1) for cells in matrices], axis=1)), math.sqrt(squared)
    return centre - half, centre + half


def rank_ranges(better_MM: ArrayLike) -> list[tuple[int, int]]:
    """Return the best and the worst rank that each of M methods may have; 1 is the best.

    `better_MM[a, b]` says that a is better than b beyond the noise: no better method ranks behind, no worse one ahead.
    """
    better = np.asarray(better_MM, dtype=np.bool_)
    return [(1 + int(better[:, m].sum()), len(better) - int(better[m].sum())) for m in range(len(better))]


def _pair(a_RI: ArrayLike, b_RI: ArrayLike) -> tuple[Scores, Scores]:
    a, b = _scores(a_RI, 2), _scores(b_RI, 2)
    if a.shape != b.shape:
        raise ValueError(f"paired matrices must have one shape, got {a.shape} and {b.shape}")
    return a, b


def bootstrap_variances(cells_RI: ArrayLike) -> tuple[float, float, float]:
    """Return the parts of the hierarchical bootstrap's variance of the mean in closed form, each widened for small samples.

    Drawing R of R runs with replacement varies the mean by V_R, drawing I of I items by V_I, drawing both by V_R + V_I + V_B.
    A bootstrap of n sees (n - 1) / n of a variance, so the parts returned are V_R · R / (R - 1), V_I · I / (I - 1), and V_B times
    both factors. In a two-way analysis of variance these are the mean squares of runs, of items and of the rest, divided by RI.

    Raises ValueError for fewer than two runs or items, or as for :func:`mean_interval`.
    """
    cells = _scores(cells_RI, 2)
    runs, items = cells.shape
    if min(runs, items) < 2:
        raise ValueError(f"needs two runs and two items to draw from, got {runs} and {items}")
    mean, of_runs, of_items = cells.mean(), cells.mean(axis=1), cells.mean(axis=0)
    by_runs = float(((of_runs - mean) ** 2).sum()) / (runs * (runs - 1))
    by_items = float(((of_items - mean) ** 2).sum()) / (items * (items - 1))
    rest = float(((cells - of_runs[:, None] - of_items + mean) ** 2).sum()) / (runs * (runs - 1) * items * (items - 1))
    return by_runs, by_items, rest


def half_width_of(runs: int, items: int, by_runs: float, by_items: float, rest: float) -> float:
    """Return the half width of the interval of a mean from the parts of :func:`bootstrap_variances`, measured or expected.

    The variance of the mean is by_runs + by_items - rest, because a cell's own noise is in both of the first two; it gets
    the t quantile with Satterthwaite's degrees of freedom. The widest of three counts: by_runs alone
    with R - 1 and by_items alone with I - 1 keep it from being too narrow where the estimate of one part is near zero.
    """
    return math.sqrt(_widest(_crossed_terms(runs, items, by_runs, by_items, rest), LEVEL))


def _crossed_terms(runs: int, items: int, by_runs: float, by_items: float, rest: float) -> list[tuple[float, float]]:
    """List the variances of the mean that the interval guards against, each with its degrees of freedom."""
    both = by_runs + by_items - rest
    spread = by_runs**2 / (runs - 1) + by_items**2 / (items - 1) + rest**2 / ((runs - 1) * (items - 1))
    terms: list[tuple[float, float]] = [(by_runs, runs - 1), (by_items, items - 1)]
    if both > 0.0:
        freedom = max(both, by_runs, by_items) ** 2 / spread
        terms.append((both, max(freedom, min(runs, items) - 1)))
    return terms


def _error_terms(cells: Scores) -> list[tuple[float, float]]:
    """List the variances and degrees of freedom for a crossed (runs, items) matrix; none for one run of one item."""
    runs, items = cells.shape
    if runs == 1 and items == 1:
        return []
    if runs == 1 or items == 1:
        return [(float(cells.var(ddof=1)) / cells.size, cells.size - 1)]
    return _crossed_terms(runs, items, *bootstrap_variances(cells))


def _squared_half_width(cells: Scores, level: float = LEVEL) -> float:
    """Return the squared half width of the interval of the mean of a crossed (runs, items) matrix; infinite for one run of one item."""
    return _widest(_error_terms(cells), level)


def _widest(terms: Sequence[tuple[float, float]], level: float) -> float:
    return max((_t(freedom, level) ** 2 * variance for variance, freedom in terms), default=math.inf)


def _p(gap: float, variance: float, freedom: float) -> float:
    """Return the two-sided p-value of Student's t."""
    if variance <= 0.0:
        return 0.0 if gap > 0.0 else 1.0
    return 2.0 * float(stdtr(freedom, -gap / math.sqrt(variance)))


def _on_drawn_items(cells: Scores, rng: np.random.Generator, draws: int) -> Scores:
    """Return (draws, runs) mean scores on items drawn with replacement, the same items for all runs."""
    items = cells.shape[1]
    counts_DI = rng.multinomial(items, np.full(items, 1.0 / items), size=draws).astype(np.float64)
    return np.asarray(np.einsum("di,ri->dr", counts_DI, cells, optimize=False) / items, dtype=np.float64)


def _iqm_variance(means_E: Sequence[Scores]) -> float:
    """Return the variance over draws of the IQM, from (draws, runs) scores of each environment."""
    return float(_iqm_rows(np.concatenate(means_E, axis=1)).var(ddof=1))


def _iqm_rows(entries: Scores) -> Scores:
    """Return the interquartile mean of each row."""
    ordered = np.sort(entries, axis=1)
    cut = entries.shape[1] // 4
    return np.asarray(ordered[:, cut : entries.shape[1] - cut].mean(axis=1), dtype=np.float64)


@lru_cache(maxsize=1024)
def _t(freedom: float, level: float = LEVEL) -> float:
    """Return the two-sided quantile of Student's t."""
    return float(stdtrit(freedom, 0.5 + level / 2))


def _scores(values: ArrayLike, axes: int) -> Scores:
    """Return the values as a finite float array with that many axes, none of them empty. Raises ValueError otherwise."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != axes or array.size == 0:
        raise ValueError(f"expected a non-empty array with {axes} axes, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("scores must be finite")
    return array
