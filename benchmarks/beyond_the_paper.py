"""The rows beyond the paper against `espl` on rulebook: `python benchmarks/beyond_the_paper.py RUN_OR_FOLDER…`.

Reads finished runs or published results and prints one line a row, over all worlds:

- score and validation score, in percent, and the mean over worlds of the paired difference to `espl` with its interval, corrected
  (Bonferroni) for the number of rows that were tried, whether all of them are printed or not. An interval needs two seeds of every world;
- principles of the shown prompt that are false, and operators that no principle names, of 24. A principle states one meaning of one
  operator; it is false if that is not the operator's hidden meaning in the run's world. No run and no table uses these counts;
- rollouts and sampled tokens of learning, the editor's included, relative to the `espl` run of the same world and seed.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from espl_envs.rulebook.env import hidden_meanings
from numpy.typing import NDArray

from espl_bench.leaderboard.collect import collect
from espl_bench.leaderboard.comparisons import FEWEST_SEEDS
from espl_bench.leaderboard.grouping import TestGroup, group
from espl_bench.runs.summary import Summary
from espl_bench.stats import Interval, difference_interval

REFERENCE = "espl"
TRIED = 5
"""Rows that were compared with the reference."""
HEAD = (
    "row",
    "seeds × worlds",
    "score",
    "valid.",
    "Δ espl",
    "corrected 95 % CI",
    "false",
    "Δ false, 95 % CI",
    "missing",
    "rollouts",
    "tokens",
)


def false_and_missing(summary: Summary) -> tuple[int, int]:
    """Compare the shown prompt with the hidden meanings of its world."""
    truth = hidden_meanings(int(dict(summary.env_options).get("world", 0)))
    stated = [principle.split() for principle in summary.shown_prompt]
    false = sum(len(words) != 2 or truth.get(words[0]) != words[1] for words in stated)
    return false, len(truth.keys() - {words[0] for words in stated if words})


def tokens(summary: Summary) -> int:
    """Count what policy and editor sampled in learning."""
    return summary.ledger.generated_tokens + summary.ledger.reflection_tokens


def mean_difference(cells: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], level: float) -> tuple[float, Interval]:
    """Return the mean over worlds of a paired difference. Worlds are taken as given, so squared half widths add."""
    intervals = [difference_interval(ours, theirs, level=level) for ours, theirs in cells]
    centre = fmean((low + high) / 2 for low, high in intervals)
    half = math.sqrt(sum(((high - low) / 2) ** 2 for low, high in intervals)) / len(intervals)
    return centre, (centre - half, centre + half)


def compared(label: str, tests: Sequence[TestGroup]) -> Iterator[str]:
    """Yield the cells of differences to the reference: gap, its interval, then false principles, rollouts and tokens."""
    pairs = [(test, test.shared(label, REFERENCE)) for test in tests if label in test.methods and test.shared(label, REFERENCE)]
    runs = [(test.methods[label].runs[seed], test.methods[REFERENCE].runs[seed]) for test, seeds in pairs for seed in seeds]
    if label == REFERENCE or not runs:
        yield from "–" * 5
        return
    scores = [(test.methods[label].on(seeds), test.methods[REFERENCE].on(seeds)) for test, seeds in pairs]
    gap, (low, high) = mean_difference(scores, 1 - 0.05 / TRIED)
    ranked = all(len(seeds) >= FEWEST_SEEDS for _, seeds in pairs)
    yield f"{100 * gap:+.1f}"
    yield f"{100 * low:+.1f} … {100 * high:+.1f}" if ranked else "one seed"
    false = [
        tuple(np.array([[float(false_and_missing(test.methods[name].runs[seed])[0])] for seed in seeds]) for name in (label, REFERENCE))
        for test, seeds in pairs
    ]
    if ranked:
        more, (low, high) = mean_difference([(ours, theirs) for ours, theirs in false], 0.95)
        yield f"{more:+.2f} ({low:+.2f} … {high:+.2f})"
    else:
        yield f"{fmean(float((ours - theirs).mean()) for ours, theirs in false):+.2f}"
    yield f"{fmean(ours.ledger.rollouts / theirs.ledger.rollouts for ours, theirs in runs):.2f}"
    yield f"{fmean(tokens(ours) / tokens(theirs) for ours, theirs in runs):.2f}"


def line(label: str, tests: Sequence[TestGroup]) -> str:
    """Format one row of the table."""
    here = [test.methods[label].runs for test in tests if label in test.methods]
    runs = [run for world in here for run in world.values()]
    gap, interval, false, rollouts, spent = compared(label, tests)
    counts = [false_and_missing(run) for run in runs]
    design = " + ".join(str(len(world)) for world in here) if len({len(world) for world in here}) > 1 else f"{len(here[0])} × {len(here)}"
    cells = [label, design, f"{100 * fmean(run.score for run in runs):.1f}", f"{100 * fmean(run.validation_score for run in runs):.1f}"]
    cells += [gap, interval, f"{fmean(each for each, _ in counts):.2f}", false, f"{fmean(each for _, each in counts):.2f}", rollouts, spent]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="RUN_OR_FOLDER")
    tests = [test for test in group(collect(parser.parse_args().paths).entries) if test.env.startswith("rulebook")]
    labels = list(dict.fromkeys(label for test in tests for label in test.methods))
    print(f"| {' | '.join(HEAD)} |")
    print(f"| --- |{' ---: |' * (len(HEAD) - 1)}")
    for label in sorted(
        labels, key=lambda name: -fmean(r.score for test in tests if name in test.methods for r in test.methods[name].runs.values())
    ):
        print(line(label, tests))


if __name__ == "__main__":
    main()
