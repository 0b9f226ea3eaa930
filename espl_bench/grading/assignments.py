"""Lists of assignments: the values of one name, or a value for each name."""

from dataclasses import replace

from espl_bench.grading.readings import Assignments, Listing, Named, Reading


def gathered(reading: Reading) -> Reading:
    """Gather a list of assignments: to the values of one name, or to a value for each name."""
    if isinstance(reading, Named) and isinstance(reading.value, Listing) and not reading.arguments:
        return replace(reading, value=gathered(reading.value))
    if not isinstance(reading, Listing):
        return reading
    items = reading.items
    first = items[0]
    named = [item for item in items if isinstance(item, Named) and not item.arguments]
    if isinstance(first, Named) and len(named) == 1 and not first.arguments:  # n = 2, 3, 4
        return Named(first.name, (), Listing((first.value, *items[1:])))
    if len(named) == len(items):
        names = {item.name.partition("_")[0] if "_" in item.name else item.name for item in named}  # x_1 = 1, x_2 = 5
        if len(names) == 1:
            return Named(next(iter(names)), (), Listing(tuple(item.value for item in named)))
        if len(names) == len(named):
            return Assignments(tuple(sorted(((item.name, item.value) for item in named), key=lambda pair: pair[0])))
    return reading
