"""Whether a control improves: then what methods gain on that environment may not come from what they are said to learn from."""

from collections.abc import Iterator

from espl_bench.controls import find_control
from espl_bench.leaderboard.grouping import REFERENCE, TestGroup
from espl_bench.stats import difference_interval
from espl_bench.utils.formatting import points


def control_notes(test: TestGroup) -> Iterator[str]:
    """One line for each control that is better than the untreated base model beyond the noise, and for what cannot be told."""
    for label, method in test.methods.items():
        control = method.control
        if control is None:
            continue
        seeds = test.shared(label, REFERENCE) if REFERENCE in test.methods else ()
        if not seeds:
            yield f"{label} is a control and shares no seed with {REFERENCE}: whether it improves is not known"
            continue
        low, high = difference_interval(method.on(seeds), test.methods[REFERENCE].on(seeds))
        if low > 0.0:
            gap = f"+{points((low + high) / 2)} points to {REFERENCE}, 95 % CI +{points(low)} … +{points(high)}"
            lost = f"gains on {test.env} may come from something else than {find_control(control).taken_away}"
            yield f"control improves: {label} {gap}; {lost}"
