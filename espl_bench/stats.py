"""Statistics of scores: pure functions of arrays, each with the generator passed in.

The resampling here treats training seeds and test items as two *crossed* factors: every seed is evaluated on the same
items, so one draw picks seeds with replacement and items with replacement, and uses the same drawn items for
all drawn seeds. (Drawing items anew for every seed would average the luck of the items away and make intervals too
narrow.) Samples of one item are averaged first: the spread of the item means already holds their noise, and drawing
them again would count it twice. With one seed only the items are resampled; such an interval says nothing about other
training runs.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much better a is than b on the same seeds and items; in the unit of the scores."""

    mean: float
    low: float
    high: float
    """``low`` to ``high`` is the bootstrap interval of the mean difference."""
    p_improvement: float
    """Share of the bootstrap draws in which a's mean is above b's, draws of no difference counting half."""


def avg_at_k(outcomes: ArrayLike) -> float:
    """The mean over items of the mean over samples, of an (items, k) array of outcomes (0/1 or rewards)."""
    return float(_scores(outcomes, 2).mean(axis=1).mean())


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate, from n samples of one item with c correct, that at least one of k samples is correct.

    1 - C(n-c, k) / C(n, k); Chen et al. 2021 (arXiv 2107.03374), equation 1, in exact integers.
    Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n} c={c} k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def bootstrap_ci(scores: ArrayLike, rng: np.random.Generator, level: float = 0.95, draws: int = 2000) -> tuple[float, float]:
    """A percentile interval (low, high) of the mean score, over seeds and items.

    Args:
        scores: a (seeds, items, samples) array.
        rng: the generator that draws seeds and items.
        level: coverage aimed at, between 0 and 1.
        draws: bootstrap replications.

    Raises:
        ValueError: wrong number of axes, an empty axis, a value that is not finite, or a bad level or number of draws.
    """
    cells = _scores(scores, 3).mean(axis=2)
    return _interval(_crossed_means(cells, rng, draws), level)


def paired_difference(a: ArrayLike, b: ArrayLike, rng: np.random.Generator, level: float = 0.95, draws: int = 2000) -> PairedDifference:
    """Compare two methods run on the same training seeds and the same items.

    Args:
        a: a (seeds, items) matrix of scores, samples averaged; row s and column i mean the same in both matrices.
        b: the same shape.
        rng: the generator that draws seeds and items, jointly for a and b.
        level: coverage aimed at, between 0 and 1.
        draws: bootstrap replications.

    Raises:
        ValueError: shapes differ, or as for :func:`bootstrap_ci`.
    """
    first, second = _scores(a, 2), _scores(b, 2)
    if first.shape != second.shape:
        raise ValueError(f"paired matrices must have one shape, got {first.shape} and {second.shape}")
    difference = first - second
    means = _crossed_means(difference, rng, draws)
    low, high = _interval(means, level)
    p_improvement = (np.count_nonzero(means > 0) + 0.5 * np.count_nonzero(means == 0)) / draws
    return PairedDifference(mean=float(difference.mean()), low=low, high=high, p_improvement=p_improvement)


def iqm(matrix: ArrayLike) -> float:
    """The interquartile mean of all entries of a (runs, tasks) matrix: the lowest and highest quarter left out.

    Agarwal et al. 2021 (arXiv 2108.13264). A quarter is rounded down to whole entries, as in their library.
    """
    entries = np.sort(_scores(matrix, 2), axis=None)
    cut = entries.size // 4
    return float(entries[cut : entries.size - cut].mean())


def _scores(values: ArrayLike, axes: int) -> Scores:
    """The values as a float array with that many axes, none of them empty, all entries finite; else ValueError."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != axes or array.size == 0:
        raise ValueError(f"expected a non-empty array with {axes} axes, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("scores must be finite")
    return array


def _crossed_means(cells: Scores, rng: np.random.Generator, draws: int) -> Scores:
    """The (draws,) means of a (seeds, items) matrix under resampling of both axes with replacement."""
    if draws < 1:
        raise ValueError(f"a bootstrap needs at least one draw, not {draws}")
    num_seeds, num_items = cells.shape
    seed_counts = rng.multinomial(num_seeds, np.full(num_seeds, 1.0 / num_seeds), size=draws).astype(np.float64)
    item_counts = rng.multinomial(num_items, np.full(num_items, 1.0 / num_items), size=draws).astype(np.float64)
    # einsum without BLAS: the same bits whatever the number of threads
    totals = np.einsum("ds,si,di->d", seed_counts, cells, item_counts, optimize=False)
    return np.asarray(totals / (num_seeds * num_items), dtype=np.float64)


def _interval(means: Scores, level: float) -> tuple[float, float]:
    """The central percentile interval of bootstrap means."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level lies between 0 and 1, not {level}")
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)
