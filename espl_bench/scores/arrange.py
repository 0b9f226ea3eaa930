"""Arrange scores as (runs × items × samples) arrays, the same items for every method of a test. What does not fit is refused by name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espl_bench.errors import DataError, UsageError
from espl_bench.scores.read import ReadFile
from espl_bench.scores.score import Score

Values = dict[str, list[float]]
"""Item → the values of its samples."""


@dataclass(frozen=True, slots=True)
class MethodScores:
    """All scores of one method on one test."""

    runs: tuple[str, ...]
    cells_RI: NDArray[np.float64]
    """Mean of the samples that did not fail, on every item."""
    samples_RIK: NDArray[np.float64]
    """Samples on the items of which none failed in any run of the test."""
    failed: int
    """Samples that say nothing, over all runs."""

    @property
    def score(self) -> float:
        """Mean over runs and items."""
        return float(self.cells_RI.mean())

    def on(self, runs: Sequence[str]) -> NDArray[np.float64]:
        """Select the rows of these runs, samples averaged."""
        return self.cells_RI[[self.runs.index(run) for run in runs]]

    def samples_on(self, runs: Sequence[str]) -> NDArray[np.float64]:
        """Select the rows of these runs."""
        return self.samples_RIK[[self.runs.index(run) for run in runs]]


@dataclass(frozen=True, slots=True)
class ScoredTest:
    """Methods with the same items."""

    name: str
    items: tuple[str, ...]
    samples: int
    """Samples of each item that count: the fewest of any run."""
    methods: Mapping[str, MethodScores]
    """Best mean score first."""
    in_shares: bool
    """True if every score lies in 0..1, and so is written in percent."""
    notes: tuple[str, ...]

    def shared(self, a: str, b: str) -> tuple[str, ...]:
        """Return the runs that both methods have."""
        return tuple(run for run in self.methods[a].runs if run in self.methods[b].runs)


@dataclass
class _Run:
    """Scores of one run as they are read."""

    values: Values
    failed: int = 0


def arrange(files: Sequence[ReadFile], shared_items: bool = False) -> tuple[ScoredTest, ...]:
    """Arrange all scores, a test each.

    Args:
        files: what was read.
        shared_items: use the items that every run of a test has, and say so, instead of refusing other ones.

    Raises:
        UsageError: methods have different items.
        DataError: a sample occurs twice, or a method has no score at all.
    """
    tests: dict[str, dict[str, dict[str, _Run]]] = {}
    notes: dict[str, list[str]] = {}
    for (test, method, run), scores in _by_run(files, notes):
        tests.setdefault(test, {}).setdefault(method, {})[run] = _collected(scores, f"{method} on {test or 'the test'}")
    return tuple(_test(name, methods, notes.get(name, []), shared_items) for name, methods in sorted(tests.items()))


def _by_run(files: Sequence[ReadFile], notes: dict[str, list[str]]) -> Iterator[tuple[tuple[str, str, str], list[Score]]]:
    """Yield the scores of each run. Several files of one run are runs of their own, in the order of the files."""
    found: dict[tuple[str, str, str], dict[int, list[Score]]] = {}
    for place, file in enumerate(files):
        for score in file.scores:
            found.setdefault((score.test, score.method, score.run), {}).setdefault(place, []).append(score)
    for (test, method, run), by_file in found.items():
        if len(by_file) == 1:
            yield (test, method, run or "1"), next(iter(by_file.values()))
            continue
        notes.setdefault(test, []).append(f"{method}: {len(by_file)} files without seeds of their own are its runs, paired by their order")
        for number, scores in enumerate(by_file.values(), start=1):
            yield (test, method, f"{run}#{number}" if run else str(number)), scores


def _collected(scores: Iterable[Score], where: str) -> _Run:
    run, seen = _Run({}), set[tuple[str, str]]()
    for score in scores:
        if score.sample and (score.item, score.sample) in seen:
            raise DataError(f"{where}: sample {score.sample} of item {score.item} occurs twice; remove one of the two")
        seen.add((score.item, score.sample))
        values = run.values.setdefault(score.item, [])
        if score.value is None:
            run.failed += 1
        else:
            values.append(score.value)
    return run


def _test(name: str, methods: Mapping[str, Mapping[str, _Run]], notes: Sequence[str], shared_items: bool) -> ScoredTest:
    runs = {f"{method}, run {label}": run for method, by_run in methods.items() for label, run in by_run.items()}
    items, left_out = _items(name, runs, shared_items)
    numbers = [max(len(run.values[item]) for item in items) for run in runs.values()]
    samples = min(numbers)
    said = [*notes, *left_out]
    if max(numbers) > samples:
        said.append(f"the first {samples} of up to {max(numbers)} samples of an item count, since some run has no more")
    whole = [item for item in items if all(len(run.values[item]) >= samples for run in runs.values())]
    arranged = {method: _arranged(list(by_run.items()), items, whole, samples) for method, by_run in methods.items()}
    said += [f"{method}: {each.failed} failed; not counted as 0 but left out" for method, each in arranged.items() if each.failed]
    ordered = dict(sorted(arranged.items(), key=lambda pair: (-pair[1].score, pair[0])))
    in_shares = all(0.0 <= value <= 1.0 for run in runs.values() for item in items for value in run.values[item])
    return ScoredTest(name, items, samples, ordered, in_shares, tuple(said))


def _arranged(runs: Sequence[tuple[str, _Run]], items: Sequence[str], whole: Sequence[str], samples: int) -> MethodScores:
    cells = [[sum(run.values[item][:samples]) / len(run.values[item][:samples]) for item in items] for _, run in runs]
    drawn = [[run.values[item][:samples] for item in whole] for _, run in runs]
    return MethodScores(
        runs=tuple(label for label, _ in runs),
        cells_RI=np.asarray(cells, dtype=np.float64),
        samples_RIK=np.asarray(drawn, dtype=np.float64).reshape(len(runs), len(whole), samples),
        failed=sum(run.failed for _, run in runs),
    )


def _items(name: str, runs: Mapping[str, _Run], shared_items: bool) -> tuple[tuple[str, ...], list[str]]:
    """Return the items that count, and what was left out. Raises UsageError, or DataError if none is left."""
    scored = {label: {item for item, values in run.values.items() if values} for label, run in runs.items()}
    every = tuple(dict.fromkeys(item for run in runs.values() for item, values in run.values.items() if values))
    common = tuple(item for item in every if all(item in items for items in scored.values()))
    if not common:
        raise DataError(f"{name or 'the test'}: no item has a score in every run; are these runs of one test?")
    if len(common) == len(every):
        return common, []
    label = min(scored, key=lambda each: len(scored[each]))
    missing = [item for item in every if item not in scored[label]]
    what = f"{label} has no score for {len(missing)} of {len(every)} items of {name or 'the test'}, e.g. {missing[0]}"
    if not shared_items:
        raise UsageError(f"{what}; bring them, or compare on the {len(common)} items that all have with --shared-items")
    return common, [f"{len(every) - len(common)} of {len(every)} items are left out, because not every run has a score for them: {what}"]
