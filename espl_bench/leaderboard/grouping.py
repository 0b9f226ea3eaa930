"""Group runs that can be compared: the same test, a method's runs by seed, their scores as arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espl_bench.errors import RunDirError, UsageError
from espl_bench.runs.summary import Summary
from espl_bench.utils.hashing import SHOWN_HASH

REFERENCE = "base"
"""Default method that differences are taken against."""

Runs = Mapping[int, Summary]
"""Runs of one method, by seed."""


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """One run and its row in a table."""

    label: str
    """Row of the run: the method's name, plus the folder's if one name has two configurations."""
    summary: Summary


@dataclass(frozen=True, slots=True)
class MethodRuns:
    """All runs of one method on one test."""

    runs: Runs
    """By seed, ascending."""
    samples_RIK: NDArray[np.float64]
    cells_RI: NDArray[np.float64]
    """Samples averaged."""

    @property
    def control(self) -> str | None:
        """Learning signal that was removed from all of its runs."""
        return next(iter(self.runs.values())).control

    @property
    def score(self) -> float:
        """Mean over runs, items and samples."""
        return mean(run.score for run in self.runs.values())

    def on(self, seeds: Sequence[int]) -> NDArray[np.float64]:
        """Select the rows of `cells_RI` for these seeds."""
        return self.cells_RI[self._rows(seeds)]

    def samples_on(self, seeds: Sequence[int]) -> NDArray[np.float64]:
        """Select the rows of `samples_RIK` for these seeds."""
        return self.samples_RIK[self._rows(seeds)]

    def _rows(self, seeds: Sequence[int]) -> list[int]:
        row_of = {seed: row for row, seed in enumerate(self.runs)}
        return [row_of[seed] for seed in seeds]


@dataclass(frozen=True, slots=True)
class TestGroup:
    """Runs with the same model, items and number of samples."""

    env: str
    model: str
    k: int
    n_items: int
    methods: Mapping[str, MethodRuns]
    """By label; best mean score first."""

    @property
    def contenders(self) -> tuple[str, ...]:
        """Methods that can be called best: all except controls, or all if there are only controls. Best mean score first."""
        real = tuple(label for label, method in self.methods.items() if method.control is None)
        return real or tuple(self.methods)

    def shared(self, a: str, b: str) -> tuple[int, ...]:
        """Return the seeds that both methods have."""
        return tuple(sorted(self.methods[a].runs.keys() & self.methods[b].runs.keys()))

    def reference(self, wanted: str | None) -> str:
        """Choose the method that differences are taken against: the wanted one, else base, else the first by name."""
        return next(label for label in (wanted, REFERENCE, *sorted(self.methods)) if label is not None and label in self.methods)


def group(entries: Iterable[GroupEntry], reference: str | None = None) -> tuple[TestGroup, ...]:
    """Group the runs by environment (with its options), model, number of samples and number of items, in that order.

    Raises:
        UsageError: `reference` is in no test.
        RunDirError: two runs share label and seed, or runs of one test have different items.
    """
    tests: dict[tuple[str, str, int, int], dict[str, dict[int, Summary]]] = {}
    for entry in entries:
        summary = entry.summary
        methods = tests.setdefault((summary.environment, summary.model, summary.k, summary.n_items), {})
        if methods.setdefault(entry.label, {}).setdefault(summary.seed, summary) is not summary:
            raise RunDirError(f"two runs of {entry.label} have seed {summary.seed} on the same test; name only one of them")
    if reference is not None and all(reference not in methods for methods in tests.values()):
        known = ", ".join(sorted({label for methods in tests.values() for label in methods}))
        raise UsageError(f"no run of method '{reference}' to compare with; found: {known or 'none'}")
    return tuple(_test(*key, methods) for key, methods in sorted(tests.items(), key=lambda item: item[0]))


def _test(env: str, model: str, k: int, n_items: int, methods: Mapping[str, Mapping[int, Summary]]) -> TestGroup:
    _refuse_other_items(env, methods)
    made = {label: _method(dict(sorted(runs.items()))) for label, runs in methods.items()}
    return TestGroup(env, model, k, n_items, {label: made[label] for label in sorted(made, key=lambda label: (-made[label].score, label))})


def _refuse_other_items(env: str, methods: Mapping[str, Runs]) -> None:
    labels_by_hash: dict[str, set[str]] = {}
    for label, runs in methods.items():
        for run in runs.values():
            labels_by_hash.setdefault(run.data_identity.get("test", "none"), set()).add(label)
    if len(labels_by_hash) > 1:
        listed = "; ".join(f"{hashed[:SHOWN_HASH]} {', '.join(sorted(labels))}" for hashed, labels in sorted(labels_by_hash.items()))
        raise RunDirError(f"runs on {env} have different test items and cannot be compared: {listed}; make a table of each")


def _method(runs: Runs) -> MethodRuns:
    for run in runs.values():
        if len(run.sample_scores) != run.n_items:
            raise RunDirError(f"run {run.run_id} has {len(run.sample_scores)} item scores for {run.n_items} items; write its summary again")
        if any(len(row) != run.k for row in run.sample_scores):
            raise RunDirError(f"run {run.run_id} has items without {run.k} samples; write its summary again")
    samples_RIK = np.asarray([run.sample_scores for run in runs.values()], dtype=np.float64)
    return MethodRuns(runs, samples_RIK, samples_RIK.mean(axis=2))


def mean(values: Iterable[float]) -> float:
    """Compute the mean, summing in the order given."""
    listed = [float(value) for value in values]
    return sum(listed) / len(listed)
