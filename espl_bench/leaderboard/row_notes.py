"""Notes on what the rows of a table are: what is known of their configurations, and what their intervals rest on. One line each."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from espl_bench.config.choices import changes
from espl_bench.leaderboard.grouping import MethodRuns, TestGroup
from espl_bench.leaderboard.rows import MOST_NAMES
from espl_bench.stats import mean_interval
from espl_bench.utils.formatting import points

NEAR_AN_END = 0.1
"""Distance to 0 or 1 within which two seeds leave an interval open."""
WIDE = 0.2
"""Distance of an end of such an interval to the score from which it is named."""
CHANGES_SHOWN = 6
"""Number of differences of one row in a note."""


def row_notes(test: TestGroup) -> tuple[str, ...]:
    """Collect the notes of one test."""
    methods = test.methods
    notes = (_unknown(methods), _variants(methods), _samples(test), _two_seeds(methods), _numbers_of_seeds(methods))
    return tuple(chain(*notes))


def lengths(tests: Sequence[TestGroup]) -> Iterator[str]:
    """Tell whether the studies of an overview are of different length: in steps, or in seeds of the methods that all of them have."""
    shared = [label for label in tests[0].methods if all(label in test.methods for test in tests)]
    runs = {test.env: [run for method in test.methods.values() for run in method.runs.values()] for test in tests}
    steps = {env: sorted({run.steps for run in of_env if run.steps}) for env, of_env in runs.items()}
    seeds = {test.env: sorted({len(test.methods[label].runs) for label in shared}) for test in tests}
    for what, by_env, therefore in (
        ("steps", steps, "scores and intervals of runs of different length are not alike"),
        ("seeds", seeds, "an IQM takes the first seeds of each, as many as all have"),
    ):
        if len({number for numbers in by_env.values() for number in numbers}) > 1:
            listed = "; ".join(f"{env} {' and '.join(map(str, numbers))}" for env, numbers in by_env.items() if numbers)
            yield f"studies differ in their numbers of {what} ({listed}): {therefore}"


def _unknown(methods: Mapping[str, MethodRuns]) -> Iterator[str]:
    unknown = [label for label, method in methods.items() if not method.configuration.complete]
    if unknown:
        why = "summaries of an earlier version, without a configuration beside them that can be read"
        yield f"configuration unknown, so that seeds of one row need not be of one ({why}): {', '.join(unknown)}"


def _variants(methods: Mapping[str, MethodRuns]) -> Iterator[str]:
    """Tell what a label does not: how a variant differs, or options beyond the few that a label names."""
    groups: dict[tuple[str, str | None], list[str]] = {}
    for label, method in methods.items():
        run = next(iter(method.runs.values()))
        if method.configuration.complete:
            groups.setdefault((run.method, run.control), []).append(label)
    for labels in groups.values():
        first, *others = sorted(labels, key=lambda label: (methods[label].name, label))
        for other in others:
            listed = changes(methods[first].configuration.choices, methods[other].configuration.choices) or ["nothing but the seeds"]
            if methods[other].name != methods[first].name or len(listed) > MOST_NAMES:
                more = f" and {len(listed) - CHANGES_SHOWN} more" if len(listed) > CHANGES_SHOWN else ""
                yield f"{other} differs from {first} in {', '.join(listed[:CHANGES_SHOWN])}{more}"


def _samples(test: TestGroup) -> Iterator[str]:
    more = {label: sorted({run.k for run in method.runs.values()}) for label, method in test.methods.items()}
    longer = [f"{label} {' and '.join(map(str, numbers))}" for label, numbers in more.items() if max(numbers) > test.k]
    if longer:
        yield f"samples per item differ: of each item the first {test.k} count, so that rows compare; there are more of {', '.join(longer)}"


def _two_seeds(methods: Mapping[str, MethodRuns]) -> Iterator[str]:
    """Name intervals of two seeds near 0 or 100 %, where little is known on the log-odds scale."""
    intervals: list[str] = []
    for label, method in methods.items():
        low, high = mean_interval(method.cells_RI)
        near = min(method.score, 1.0 - method.score) < NEAR_AN_END
        if len(method.runs) == 2 and near and max(method.score - low, high - method.score) > WIDE:
            intervals.append(f"{label} {points(low)} … {points(high)}")
    if intervals:
        yield f"two seeds near 0 or 100 % leave the interval open, and a third closes it most: {', '.join(intervals)}"


def _numbers_of_seeds(methods: Mapping[str, MethodRuns]) -> Iterator[str]:
    numbers = {label: len(method.runs) for label, method in methods.items()}
    if len(set(numbers.values())) > 1:
        listed = ", ".join(f"{label} {number}" for label, number in numbers.items())
        yield f"numbers of seeds differ, and intervals of fewer seeds are wider for that reason alone: {listed}"
