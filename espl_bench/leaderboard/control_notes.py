"""Notes on controls that improve: on that environment a method's gain may not come from its learning signal."""

from collections.abc import Iterator

from espl_bench.controls import find_control
from espl_bench.leaderboard.comparisons import control_comparisons
from espl_bench.leaderboard.grouping import REFERENCE, TestGroup
from espl_bench.stats import difference_interval
from espl_bench.utils.formatting import points


def control_notes(test: TestGroup) -> Iterator[str]:
    """Write one line per control that beats the untreated base model beyond the noise, or cannot be compared with it."""
    comparisons = control_comparisons(test, REFERENCE)
    for label, method in test.methods.items():
        control = method.control
        if control is None:
            continue
        seeds = test.shared(label, REFERENCE) if REFERENCE in test.methods else ()
        if comparisons.p(label, REFERENCE) is None:
            shared = "only one seed" if seeds else "no seed"
            yield f"{label} is a control but shares {shared} with {REFERENCE}, so it is not known whether it improves"
        elif comparisons.better(label, REFERENCE):
            low, high = difference_interval(method.on(seeds), test.methods[REFERENCE].on(seeds))
            gap = f"+{points((low + high) / 2)} points to {REFERENCE}, 95 % CI +{points(low)} … +{points(high)}"
            lost = f"gains on {test.env} may not come from {find_control(control).taken_away}"
            yield f"control improves: {label} {gap}; {lost}"
