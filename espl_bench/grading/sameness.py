"""Compare two readings: which kinds can answer which, and how (``same_*.py``)."""

from collections.abc import Callable
from typing import Any, Final

from espl_bench.grading import read_sets, same_amounts, same_lists, same_regions, same_relations, same_texts
from espl_bench.grading.assignments import gathered
from espl_bench.grading.comparison import Comparison, Tolerance
from espl_bench.grading.readings import (
    Assignments,
    Bracketed,
    Cases,
    Congruence,
    Contradiction,
    Dots,
    InBase,
    Listing,
    Matrix,
    Named,
    Opaque,
    Quantity,
    Ratio,
    Reading,
    Region,
    Relation,
    Scalar,
    SetOf,
    Words,
)


def same(gold: Reading, answer: Reading, allowed: Tolerance) -> bool:
    """Return True if an answer is the gold answer."""
    by = Comparison(allowed, same)
    gold, answer = gathered(gold), gathered(answer)
    if isinstance(gold, Contradiction) or isinstance(answer, Contradiction):
        return False
    if not allowed.relations_for_sets and isinstance(answer, Region) and answer.variable and not _is_inequality(gold):
        return False
    if type(gold) is type(answer):
        return _SAME_KIND[type(gold)](gold, answer, by)
    for left, right, swapped in ((gold, answer, False), (answer, gold, True)):
        rule = _ACROSS.get((type(left), type(right)))
        if rule is not None:
            return rule(left, right, by, swapped)
    for left, right in ((gold, answer), (answer, gold)):
        if isinstance(left, Relation) and isinstance(right, Bracketed) and (region := read_sets.as_region(right)) is not None:
            return same_regions.region_relation(region, left, by, False)
    return same_regions.regions_if_possible(gold, answer)


def _is_inequality(reading: Reading) -> bool:
    return (isinstance(reading, Region) and reading.variable is not None) or isinstance(reading, Relation | Scalar)


_ANYTHING: Final = (Scalar, Quantity, Bracketed, SetOf, Listing, Region, Relation, Assignments, Ratio, InBase, Matrix, Cases, Words, Opaque)
_SAME_KIND: Final[dict[type, Callable[[Any, Any, Comparison], bool]]] = {
    Scalar: same_amounts.scalars_agree,
    Quantity: same_amounts.quantities,
    Bracketed: same_lists.brackets,
    SetOf: same_lists.sets,
    Listing: same_lists.listings,
    Named: same_relations.names,
    Assignments: same_lists.assignments,
    Relation: same_relations.relations,
    Region: same_regions.regions,
    Congruence: same_amounts.congruences,
    Ratio: same_amounts.ratios,
    InBase: same_amounts.in_bases,
    Matrix: same_lists.matrices,
    Cases: same_lists.cases,
    Words: same_texts.words,
    Opaque: same_texts.opaques,
    Dots: same_lists.dots,
}
"""Comparisons of two values of one kind."""
_ACROSS: Final[dict[tuple[type, type], Callable[[Any, Any, Comparison, bool], bool]]] = {
    (Quantity, Scalar): same_amounts.quantity_scalar,
    (Assignments, Bracketed): same_lists.assigned_ordered,
    (Assignments, Listing): same_lists.assigned_ordered,
    (Bracketed, Listing): same_lists.bracket_list,
    (SetOf, Listing): same_lists.set_list,
    (SetOf, Bracketed): same_lists.set_bracket,
    (SetOf, Scalar): same_lists.set_single,
    (SetOf, Quantity): same_lists.set_single,
    (InBase, Scalar): same_amounts.base_scalar,
    (Ratio, Scalar): same_amounts.ratio_scalar,
    (Region, Relation): same_regions.region_relation,
    (Relation, Scalar): same_relations.relation_scalar,
    (Congruence, Scalar): same_amounts.congruence_scalar,
    (Matrix, Bracketed): same_lists.matrix_bracket,
    (Bracketed, Scalar): same_lists.vector_basis,
    (Matrix, Scalar): same_lists.matrix_basis,
    (Words, Region): same_texts.words_any,
    (Words, Scalar): same_texts.words_any,
    **{(Named, kind): same_relations.named_any for kind in _ANYTHING},
}
"""Comparisons of values of two kinds; the last argument says whether the first one is the answer."""
