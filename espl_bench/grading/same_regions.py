"""Compare sets of real numbers: intervals, their unions, and what an inequality leaves."""

from typing import Any

from espl_bench.grading import read_sets, scalars
from espl_bench.grading.comparison import Comparison
from espl_bench.grading.functions import sympy
from espl_bench.grading.readings import Reading, Region, Relation


def regions(gold: Region, answer: Region, by: Comparison) -> bool:
    """Compare sets of real numbers, and what they are sets of, if both say so."""
    if gold.variable and answer.variable and gold.variable != answer.variable and by.allowed.strict:
        return False
    return same_set(gold.value, answer.value)


def same_set(gold: Any, answer: Any) -> bool:
    """Compare two sets, piece by piece if they are intervals and points."""
    if gold == answer:
        return True
    pieces = [_pieces(side) for side in (gold, answer)]
    if pieces[0] is None or pieces[1] is None or len(pieces[0]) != len(pieces[1]):
        return False
    return all(
        left[1:] == right[1:] and all(scalars.same_number(a, b) for a, b in zip(left[0], right[0], strict=True))
        for left, right in zip(pieces[0], pieces[1], strict=True)
    )


def _pieces(region: Any) -> list[tuple[tuple[Any, Any], bool, bool]] | None:
    """Return a set's intervals and points in order; None if it has others."""
    parts = region.args if isinstance(region, sympy.Union) else (region,)
    found: list[tuple[tuple[Any, Any], bool, bool]] = []
    for part in parts:
        if isinstance(part, sympy.Interval):
            found.append(((part.start, part.end), bool(part.left_open), bool(part.right_open)))
        elif isinstance(part, sympy.FiniteSet):
            found.extend(((point, point), False, False) for point in part.args)
        else:
            return None
    try:
        return sorted(found, key=lambda piece: (float(piece[0][0]), float(piece[0][1])))
    except TypeError:
        return None


def regions_if_possible(gold: Reading, answer: Reading) -> bool:
    """Compare as sets of real numbers, if one side is surely one and the other can be."""
    if not (isinstance(gold, Region) or isinstance(answer, Region)):
        return False
    ours, theirs = read_sets.as_region(gold), read_sets.as_region(answer)
    return ours is not None and theirs is not None and same_set(ours.value, theirs.value)


def region_relation(region: Region, relation: Relation, by: Comparison, swapped: bool) -> bool:
    """Solve an inequality in one variable."""
    solved = read_sets.solved(relation, region.variable)
    return solved is not None and same_set(region.value, solved)
