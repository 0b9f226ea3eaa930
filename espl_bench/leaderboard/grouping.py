"""Group runs that can be compared: the same test, a method's runs by seed, their scores as arrays."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espl_bench.config.choices import default_choices, differing, written
from espl_bench.errors import RunDirError, UsageError
from espl_bench.leaderboard.rows import SAMPLES, Configuration
from espl_bench.runs.summary import Summary
from espl_bench.utils.hashing import SHOWN_HASH

REFERENCE = "base"
"""Default method that differences are taken against."""
PREFERRED: tuple[str | None, ...] = (None, "paper")
"""Which of several configurations a method's name alone means: the environment's defaults, then the paper's preset."""

Runs = Mapping[int, Summary]
"""Runs of one method, by seed."""


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """One run and its row in a table."""

    label: str
    """Row of the run: its method, and what differs from the method's other configurations (`rows.label_rows`)."""
    summary: Summary
    name: str = ""
    """The row's name without what differs; empty: the label."""
    configuration: Configuration | None = None
    """None: as the summary states it."""


@dataclass(frozen=True, slots=True)
class MethodRuns:
    """All runs of one method on one test."""

    runs: Runs
    """By seed, ascending."""
    name: str
    """Name of the row without what differs."""
    configuration: Configuration
    """Of all its runs."""
    samples_RIK: NDArray[np.float64]
    """The first samples of every item, as many as all runs of the test have."""
    cells_RI: NDArray[np.float64]
    """Samples averaged."""

    @property
    def control(self) -> str | None:
        """Learning signal that was removed from all of its runs."""
        return next(iter(self.runs.values())).control

    @property
    def score(self) -> float:
        """Mean over runs, items and samples."""
        k = self.samples_RIK.shape[2]
        cut = zip(self.runs.values(), self.cells_RI.tolist(), strict=True)
        return mean(run.score if run.k == k else mean(cells_I) for run, cells_I in cut)

    def deviations(self, preset: str | None = None) -> dict[str, Any]:
        """Return the choices that differ from those that the method has on this environment without any option, or with a preset."""
        run = next(iter(self.runs.values()))
        own = self.configuration.choices
        default = default_choices(run.method, run.env, preset, [SAMPLES] if SAMPLES in own else [])
        return {name: own.get(name) for name in differing([own, default]) if self.configuration.complete or name in own}

    def is_default(self, names: Iterable[str], preset: str | None = None) -> bool:
        """Return whether these options have the values that they have on this environment without any option, or with a preset."""
        return self.configuration.complete and not self.deviations(preset).keys() & set(names)

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
    """Runs with the same model and items."""

    env: str
    model: str
    k: int
    """Samples per item: the fewest of any run. Of runs with more, only the first ones count."""
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

    def named(self, name: str) -> tuple[str, ...]:
        """Return the row of this label, else all configurations of the method of this name."""
        asked = _plain(name)
        exact = tuple(label for label in self.methods if _plain(label) == asked)
        return exact or tuple(sorted(label for label, method in self.methods.items() if _plain(method.name) == asked))

    def main(self, name: str, presets: Sequence[str | None] = PREFERRED) -> str | None:
        """Return the row of this name; of several configurations that of `presets`, by what differs between them. None if none is."""
        labels = self.named(name)
        if len(labels) < 2:
            return next(iter(labels), None)
        names = differing([self.methods[label].configuration.choices for label in labels if self.methods[label].configuration.complete])
        return next((label for preset in presets for label in labels if self.methods[label].is_default(names, preset)), None)

    def reference(self, wanted: str | None) -> str:
        """Choose the method that differences are taken against: the wanted one, else base, else the first by name.

        Of several configurations of it, the environment's default one is taken, or the paper's. Raises UsageError if the wanted
        method has neither.
        """
        if wanted is not None and self.named(wanted) and self.main(wanted) is None:
            raise UsageError(f"'{wanted}' has several configurations on {self.env}; name one of: {', '.join(self.named(wanted))}")
        mains = (self.main(name) for name in (wanted, REFERENCE) if name is not None)
        return next(label for label in (*mains, *self.named(REFERENCE), *sorted(self.methods)) if label is not None)


def _plain(label: str) -> str:
    return " ".join(label.replace("·", " ").split())


def group(entries: Iterable[GroupEntry], reference: str | None = None) -> tuple[TestGroup, ...]:
    """Group the runs by environment (with its options), model and number of items, in that order.

    Raises:
        UsageError: `reference` is in no test.
        RunDirError: two runs share label and seed, runs of one label are not of one configuration, or runs of one test have different
            items.
    """
    by_test: dict[tuple[str, str, int], dict[str, dict[int, GroupEntry]]] = {}
    for entry in entries:
        summary = entry.summary
        methods = by_test.setdefault((summary.environment, summary.model, summary.n_items), {})
        if methods.setdefault(entry.label, {}).setdefault(summary.seed, entry).summary is not summary:
            raise RunDirError(f"two runs of {entry.label} have seed {summary.seed} on the same test; name only one of them")
    tests = tuple(_test(*key, methods) for key, methods in sorted(by_test.items(), key=lambda item: item[0]))
    if reference is not None and not any(test.named(reference) for test in tests):
        known = ", ".join(sorted({label for methods in by_test.values() for label in methods}))
        raise UsageError(f"no run of method '{reference}' to compare with; found: {known or 'none'}")
    return tests


def _test(env: str, model: str, n_items: int, methods: Mapping[str, Mapping[int, GroupEntry]]) -> TestGroup:
    runs = {label: {seed: entry.summary for seed, entry in sorted(entries.items())} for label, entries in methods.items()}
    _refuse_other_items(env, runs)
    k = min(run.k for of_label in runs.values() for run in of_label.values())
    made = {label: _method(label, entries, runs[label], k) for label, entries in methods.items()}
    return TestGroup(env, model, k, n_items, {label: made[label] for label in sorted(made, key=lambda label: (-made[label].score, label))})


def _refuse_other_items(env: str, methods: Mapping[str, Runs]) -> None:
    labels_by_hash: dict[str, set[str]] = {}
    for label, runs in methods.items():
        for run in runs.values():
            if "test" in run.data_identity:  # earlier versions did not hash items that an environment generates; a note says so
                labels_by_hash.setdefault(run.data_identity["test"], set()).add(label)
    if len(labels_by_hash) > 1:
        listed = "; ".join(f"{hashed[:SHOWN_HASH]} {', '.join(sorted(labels))}" for hashed, labels in sorted(labels_by_hash.items()))
        raise RunDirError(f"runs on {env} have different test items and cannot be compared: {listed}; make a table of each")


def _method(label: str, entries: Mapping[int, GroupEntry], runs: Runs, k: int) -> MethodRuns:
    for run in runs.values():
        if len(run.sample_scores) != run.n_items:
            raise RunDirError(f"run {run.run_id} has {len(run.sample_scores)} item scores for {run.n_items} items; write its summary again")
        if any(len(row) != run.k for row in run.sample_scores):
            raise RunDirError(f"run {run.run_id} has items without {run.k} samples; write its summary again")
    samples_RIK = np.asarray([[samples[:k] for samples in run.sample_scores] for run in runs.values()], dtype=np.float64)
    first = next(iter(entries.values()))
    return MethodRuns(runs, first.name or label, _configuration(label, entries), samples_RIK, samples_RIK.mean(axis=2))


def _configuration(label: str, entries: Mapping[int, GroupEntry]) -> Configuration:
    """Return what all runs of a label have chosen. Raises RunDirError if they did not choose the same."""
    found = [entry.configuration or Configuration.of(entry.summary) for entry in entries.values()]
    known = [each.choices for each in found if each.complete]
    if names := differing(known):
        told = "; ".join(f"{name} {', '.join(dict.fromkeys(written(each.get(name)) for each in known))}" for name in names)
        raise RunDirError(f"runs of {label} are not of one configuration: {told}; label them with entries_of")
    return found[0]


def mean(values: Iterable[float]) -> float:
    """Compute the mean, summing in the order given."""
    listed = [float(value) for value in values]
    return sum(listed) / len(listed)
