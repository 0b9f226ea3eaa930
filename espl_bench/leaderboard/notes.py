"""Notes on whatever makes the rows of a table hard to compare, one line each."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from espl_bench.leaderboard.grouping import Runs
from espl_bench.runs.summary import Summary
from espl_bench.types import Outcome
from espl_bench.utils.formatting import percent
from espl_bench.utils.hashing import SHOWN_HASH

QUOTES_SHOWN = 3
"""Number of quotations of one run in a note."""


def notes_of(methods: Mapping[str, Runs], reference: str) -> tuple[str, ...]:
    """Collect the notes of one table, most serious first."""
    return tuple(chain(_data(methods), _budgets(methods), _seeds(methods, reference), _failures(methods), _quotes(methods)))


def _data(methods: Mapping[str, Runs]) -> Iterator[str]:
    """Compare the items of the runs: those of one environment can still differ, e.g. with another copy of a data set."""
    every = [(label, run.data_identity) for label, runs in methods.items() for run in runs.values()]
    for split in dict.fromkeys(split for _, identity in every for split in identity):
        labels_by_hash: dict[str, list[str]] = {}
        for label, identity in every:
            labels_by_hash.setdefault(identity.get(split, "none")[:SHOWN_HASH], []).append(label)
        if len(labels_by_hash) > 1:
            listed = "; ".join(f"{hashed} {', '.join(dict.fromkeys(labels))}" for hashed, labels in labels_by_hash.items())
            yield f"{split} items differ, so these runs cannot be compared: {listed}"


def _budgets(methods: Mapping[str, Runs]) -> Iterator[str]:
    """Compare steps, rollouts, engines and editors of the methods that trained; a method without rollouts has no budget."""
    trained = {label: [run for run in runs.values() if run.ledger.rollouts] for label, runs in methods.items()}
    kinds: tuple[tuple[str, Callable[[Summary], int]], ...] = (
        ("step counts", lambda run: run.steps),
        ("training rollouts", lambda run: run.ledger.rollouts),
    )
    for kind, value in kinds:
        values_by_label = {label: {value(run) for run in runs} for label, runs in trained.items() if runs}
        if len(set[int]().union(*values_by_label.values())) > 1:
            listed = "; ".join(f"{label} {_numbers(values)}" for label, values in values_by_label.items())
            yield f"{kind} differ, so budgets are not equal: {listed}"
    engines = {run.engine for runs in methods.values() for run in runs.values()}
    if len(engines) > 1:
        yield f"engines differ: {', '.join(sorted(engines))}"
    editors = {
        run.editor_model or "the run's own model" for runs in methods.values() for run in runs.values() if run.ledger.reflection_calls
    }
    if len(editors) > 1:
        yield f"editors differ: {', '.join(sorted(editors))}"


def _seeds(methods: Mapping[str, Runs], reference: str) -> Iterator[str]:
    every = {seed for runs in methods.values() for seed in runs}
    for label, runs in methods.items():
        if missing := every - runs.keys():
            yield f"{label} has no finished run for seed {_numbers(missing)}; differences use the seeds that both methods have"
        if label != reference and not runs.keys() & methods[reference].keys():
            yield f"{label} shares no seed with {reference}: no paired difference"
    if len(every) == 1:
        yield "one seed only: the intervals cover test items only, not other training runs"


def _failures(methods: Mapping[str, Runs]) -> Iterator[str]:
    for label, runs in methods.items():
        shares = {kind: sum(run.outcomes.get(kind, 0.0) for run in runs.values()) / len(runs) for kind in (Outcome.ERROR, Outcome.TIMEOUT)}
        if any(shares.values()):
            listed = ", ".join(f"{kind.value} {percent(share)}" for kind, share in shares.items() if share)
            yield f"{label}: test samples that could not be graded count as 0: {listed}"


def _quotes(methods: Mapping[str, Runs]) -> Iterator[str]:
    """Name prompts that quote items: a prompt with the words of an item may also contain its answer."""
    for label, runs in methods.items():
        for seed, run in runs.items():
            if run.quotes:
                more = f" and {len(run.quotes) - QUOTES_SHOWN:,} more" if len(run.quotes) > QUOTES_SHOWN else ""
                yield f"{label}, seed {seed}: the shown prompt quotes items: {', '.join(run.quotes[:QUOTES_SHOWN])}{more}"


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(f"{value:,}" for value in sorted(values))
