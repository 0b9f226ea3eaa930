"""How often a table claims what is not true, in simulated studies of five methods whose truth is known.

    python benchmarks/claims_of_tables.py [--experiments 4000] [--write docs/statistics.md]

First, methods whose runs scatter around one level: how often somebody of equals is called worse, pair by pair and as a table corrects
it. Second, methods of which some runs are of another kind (a quarter collapses, a quarter takes off) or far out: how often a mean's
interval covers, how often equal means are called different, and how often the table warns. simulated_studies.py draws the rewards.
Nothing depends on the time or the machine.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from coverage_of_intervals import Array, Law
from page_block import print_all, write_between
from scipy.special import stdtrit
from simulated_studies import METHODS, PAIRS, Seeds, Study, equal, pair_tests

from espl_bench.leaderboard.comparisons import ALPHA, holm
from espl_bench.leaderboard.seed_notes import widest_gap
from espl_bench.seeding import rng_for
from espl_bench.stats import LEVEL, bootstrap_variances, mean_interval

MARKS = "<!-- claims -->", "<!-- end of claims -->"
BATCH = 500
"""Experiments in memory at a time."""
SPACINGS = 2000


def overview_wrong(seeds: Seeds, environments: int, number: int, runs: int, items: int, samples: int) -> float:
    """How often an overview of equal methods calls some method better. Among equals Holm asks one of ten p-values for a tenth of ALPHA."""
    rng = rng_for(0, "overview", seeds.sd, environments, runs)
    truths = np.linspace(0.2, 0.8, environments)
    wrong: list[Array] = []
    for start in range(0, number, BATCH):
        size = min(BATCH, number - start)
        studies = [equal("", float(truth), seeds).draw(rng, size, runs, items, samples)[0] for truth in truths]
        of_pairs = [pair_tests(cells) for cells in studies]
        centre = np.mean([each.gaps for each in of_pairs], axis=0)
        level = 1.0 - ALPHA / len(PAIRS)
        half = np.sqrt(np.sum([each.squared_half_widths(level) for each in of_pairs], axis=0)) / environments
        wrong.append((np.abs(centre) > half).any(axis=1))
    return float(np.concatenate(wrong).mean())


@dataclass(frozen=True)
class Claims:
    """Shares of studies."""

    by_pairs: float
    """Some method is called better than one that is as good or better, if each pair is judged by itself."""
    corrected: float
    """The same in a table."""
    found: float | None
    """Mean share of the true differences that a table claims; None if there is none."""


def claims(study: Study, number: int, runs: int, items: int, samples: int) -> Claims:
    """Simulate tables of a study."""
    rng = rng_for(0, "claims", study.name, runs, items)
    true = np.asarray([np.sign(round(study.truths[a] - study.truths[b], 9)) for a, b in PAIRS])
    wrong, found = [], []
    for start in range(0, number, BATCH):
        cells, _ = study.draw(rng, min(BATCH, number - start), runs, items, samples)
        tests = pair_tests(cells)
        said, p = np.sign(tests.gaps), tests.p_values()
        corrected = np.asarray([holm(list(row)) for row in p])
        alarms = [(p < 1.0 - LEVEL) & (said != true), (corrected < ALPHA) & (said != true)]
        wrong.append(np.stack([alarm.any(axis=1) for alarm in alarms], axis=1))
        found.append(((corrected < ALPHA) & (said == true))[:, true != 0].mean(axis=1) if true.any() else np.zeros(0))
    by_pairs, after = np.concatenate(wrong).mean(axis=0)
    return Claims(float(by_pairs), float(after), float(np.concatenate(found).mean()) if true.any() else None)


@dataclass(frozen=True)
class Kinds:
    """Shares of studies whose first method has runs of two kinds, or far out."""

    unseen: float
    """All runs of the method are of one kind."""
    covered: float
    any_law: float
    """Covered by the interval that assumes nothing of the seeds."""
    any_law_width: float
    different: float
    """The method and another of equal mean: called different, this pair by itself."""
    corrected: float
    """Some two of the five methods of equal mean are called different in a table."""
    warned: float
    """The table warns of the method."""
    warned_if_seen: float
    """The same among studies that have runs of both kinds."""


def kinds(study: Study, number: int, runs: int, items: int, samples: int) -> Kinds:
    """Simulate tables of a study; the first method is looked at."""
    rng = rng_for(0, "kinds", study.name, runs, items)
    cells, other = study.draw(rng, number, runs, items, samples)
    p = pair_tests(cells).p_values()
    truth, first = study.truths[0], cells[:, 0]
    seen = other[:, 0].any(axis=1) & ~other[:, 0].all(axis=1)
    ours = np.asarray([mean_interval(each) for each in first])
    any_law = any_law_intervals(first)
    warned = np.asarray([(gap := widest_gap(each)) is not None and gap.clear for each in first])
    return Kinds(
        unseen=float(1 - seen.mean()),
        covered=_covered(ours, truth),
        any_law=_covered(any_law, truth),
        any_law_width=float((any_law[:, 1] - any_law[:, 0]).mean()),
        different=float((p[:, 0] < 1.0 - LEVEL).mean()),
        corrected=float((p.min(axis=1) * len(PAIRS) < ALPHA).mean()),
        warned=float(warned.mean()),
        warned_if_seen=float(warned[seen].mean()) if seen.any() else float("nan"),
    )


def _covered(intervals: Array, truth: float) -> float:
    return float(((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean())


def any_law_intervals(cells: Array) -> Array:
    """Intervals of means that assume of the seeds only that scores are in 0..1 (Gaffke's bound; Learned-Miller and Thomas 2019).

    The bound is a quantile of the mean with random spacings of which one falls to 0, or to 1. The items' part is added in squares.
    """
    means = cells.mean(axis=2)
    runs = means.shape[1]
    weights = rng_for(0, "spacings", runs).dirichlet(np.ones(runs + 1), SPACINGS)
    drawn = means @ weights[:, :runs].T
    low = np.quantile(drawn, (1 - LEVEL) / 2, axis=1)
    high = np.quantile(drawn + weights[:, runs], (1 + LEVEL) / 2, axis=1)
    items = float(stdtrit(cells.shape[2] - 1, (1 + LEVEL) / 2)) ** 2 * np.asarray([bootstrap_variances(each)[1] for each in cells])
    centre = means.mean(axis=1)
    ends = (centre - np.sqrt((centre - low) ** 2 + items), centre + np.sqrt((high - centre) ** 2 + items))
    return np.clip(np.stack(ends, axis=1), 0.0, 1.0)


SHAPES = ((3, 30, 10), (5, 100, 4))
STEADY = Seeds(0.3)
UNEQUAL = tuple(map(Seeds, (0.0, 0.1, 0.3, 0.6, 1.0)))


ONE_KIND = (
    *(equal(f"seed sd {sd}", truth, Seeds(sd)) for truth in (0.1, 0.5, 0.9) for sd in (0.0, 0.3, 1.0)),
    *(equal(f"seed sd 0.5, items {law}", 0.3, Seeds(0.5), law=law) for law in (Law.EASY_TAIL, Law.HARD_TAIL, Law.TWO_KINDS)),
    *(equal("seed sd 0.0, 0.1, 0.3, 0.6, 1.0", truth, *UNEQUAL) for truth in (0.1, 0.5, 0.9)),
    *(Study(f"seed sd {sd}, two are better", (0.5, 0.5, 0.3, 0.3, 0.3), (Seeds(sd),) * METHODS) for sd in (0.0, 0.3, 1.0)),
    *(Study(f"seed sd {sd}, all differ", (0.7, 0.5, 0.3, 0.1, 0.02), (Seeds(sd),) * METHODS) for sd in (0.0, 0.3, 1.0)),
)
COLLAPSE, TAKE_OFF, HEAVY = Seeds(0.3, shift=-5.0), Seeds(0.3, shift=5.0), Seeds(0.5, heavy=True)
TWO_KINDS = (
    *(equal(f"one level, sd {sd}", 0.3, Seeds(sd)) for sd in (0.0, 0.3, 1.0)),
    equal("a quarter collapses, in all methods", 0.4, COLLAPSE),
    equal("a quarter collapses, in one method", 0.4, COLLAPSE, *(STEADY,) * 4),
    equal("a quarter takes off, in all methods", 0.2, TAKE_OFF),
    equal("a quarter takes off, in one method", 0.2, TAKE_OFF, *(STEADY,) * 4),
    equal("heavy tails, in all methods", 0.3, HEAVY),
    equal("heavy tails, in one method", 0.3, HEAVY, *(STEADY,) * 4),
)
RUNS = (3, 5, 10)


def one_kind_lines(number: int) -> Iterator[str]:
    """The table of methods whose runs scatter around one level."""
    yield "| runs × items × samples | runs and items | truths | wrong, pair by pair | wrong, corrected | true differences claimed |"
    yield "| --- | --- | --- | ---: | ---: | ---: |"
    worst: dict[str, float] = {}
    for runs, items, samples in SHAPES:
        for study in ONE_KIND:
            found = claims(study, number, runs, items, samples)
            shape, truths = f"{runs} × {items} × {samples}", ", ".join(f"{truth:g}" for truth in dict.fromkeys(study.truths))
            claimed = "–" if found.found is None else f"{found.found:.1%}"
            yield f"| {shape} | {study.name} | {truths} | {found.by_pairs:.1%} | {found.corrected:.1%} | {claimed} |"
            worst[shape] = max(worst.get(shape, 0.0), found.corrected)
    yield ""
    yield from (f"- {shape}: a corrected table is wrong in at most {share:.1%}" for shape, share in worst.items())
    for runs, items, samples in SHAPES:
        shares = [overview_wrong(Seeds(sd), 3, number // 2, runs, items, samples) for sd in (0.0, 0.3, 1.0)]
        told = ", ".join(f"{share:.1%}" for share in shares)
        yield f"- an overview of three environments, {runs} × {items} × {samples} each, equal methods, seed sd 0, 0.3, 1: wrong in {told}"


def two_kinds_lines(number: int) -> Iterator[str]:
    """The table of methods whose runs are of two kinds, or far out."""
    yield (
        "| runs | seeds | one kind seen | covered | any law: covered | its width | pair called different | table of five wrong | "
        "warned | warned if both kinds are seen |"
    )
    yield f"| ---: | --- |{' ---: |' * 8}"
    for study in TWO_KINDS:
        for runs in RUNS:
            found = kinds(study, number, runs, 30, 10)
            mixed = study.seeds[0].shift != 0.0
            shares = (found.covered, found.any_law, found.any_law_width, found.different, found.corrected, found.warned)
            cells = " | ".join(f"{share:.1%}" for share in shares)
            unseen, if_seen = (f"{share:.1%}" if mixed else "–" for share in (found.unseen, found.warned_if_seen))
            yield f"| {runs} | {study.name} | {unseen} | {cells} | {if_seen} |"


def lines(number: int) -> Iterator[str]:
    """Both tables."""
    yield f"{number:,} studies per row, {number // 2:,} per overview. Runs that scatter around one level:"
    yield ""
    yield from one_kind_lines(number)
    yield ""
    yield "Runs of two kinds, or far out; 30 items, 10 samples. Rows of one level are there to compare:"
    yield ""
    yield from two_kinds_lines(number)


def main() -> None:
    """Parse the command line, simulate, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--experiments", type=int, default=4000)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page whose tables between the marks are made anew")
    options = parser.parse_args()
    printed = print_all(lines(options.experiments))
    if options.write:
        write_between(options.write, MARKS, printed)


if __name__ == "__main__":
    main()
