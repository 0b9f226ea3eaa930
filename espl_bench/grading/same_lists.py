"""Compare what holds several values: lists, sets, points, matrices, assignments. `swapped`: the first value is the answer."""

import itertools
from collections.abc import Sequence
from typing import Any

from espl_bench.grading.comparison import MOST_ITEMS, Comparison
from espl_bench.grading.functions import symbol, sympy
from espl_bench.grading.readings import Assignments, Bracketed, Cases, Dots, Listing, Matrix, Named, Reading, Scalar, SetOf


def brackets(gold: Bracketed, answer: Bracketed, by: Comparison) -> bool:
    """Compare points, vectors or intervals: item by item."""
    alike = (gold.opening, gold.closing) == (answer.opening, answer.closing) or not by.allowed.strict
    return alike and by.ordered(gold.items, answer.items)


def sets(gold: SetOf, answer: SetOf, by: Comparison) -> bool:
    """Compare sets: neither order nor number counts."""

    def distinct(items: Sequence[Reading]) -> list[Reading]:
        kept: list[Reading] = []
        for item in items[:MOST_ITEMS]:
            if not any(by.same(item, other) for other in kept):
                kept.append(item)
        return kept

    return by.unordered(distinct(_spelled(gold.items)), distinct(_spelled(answer.items)))


def listings(gold: Listing, answer: Listing, by: Comparison) -> bool:
    """Compare lists without brackets: only number counts, but with an ellipsis order does, too."""
    if any(isinstance(item, Dots) for item in (*gold.items, *answer.items)):
        return by.ordered(_spelled(gold.items), _spelled(answer.items))
    return by.unordered(gold.items, answer.items)


def dots(gold: Dots, answer: Dots, by: Comparison) -> bool:
    """Two ellipses are one."""
    return True


def _spelled(items: Sequence[Reading]) -> Sequence[Reading]:
    """Write out ``1, 2, …, 10``, if it is an arithmetic progression of whole numbers."""
    places = [place for place, item in enumerate(items) if isinstance(item, Dots)]
    if len(places) != 1 or places[0] < 2 or places[0] != len(items) - 2:
        return items
    known = [item.value for item in (*items[: places[0]], items[-1]) if isinstance(item, Scalar) and item.value.is_Integer]
    if len(known) != len(items) - 1:
        return items
    step = known[1] - known[0]
    if not step or any(b - a != step for a, b in itertools.pairwise(known[:-1])) or (known[-1] - known[0]) % step:
        return items
    count = int((known[-1] - known[0]) / step) + 1
    return [Scalar(known[0] + step * n) for n in range(count)] if 0 < count <= MOST_ITEMS else items


def matrices(gold: Matrix, answer: Matrix, by: Comparison) -> bool:
    """Compare cell by cell."""
    return len(gold.rows) == len(answer.rows) and all(by.ordered(a, b) for a, b in zip(gold.rows, answer.rows, strict=True))


def cases(gold: Cases, answer: Cases, by: Comparison) -> bool:
    """Compare values with their conditions, in any order."""
    left = list(answer.rows)
    for value, condition in gold.rows:
        place = next((n for n, (other, when) in enumerate(left) if by.same(condition, when) and by.same(value, other)), None)
        if place is None:
            return False
        del left[place]
    return not left


def assignments(gold: Assignments, answer: Assignments, by: Comparison) -> bool:
    """Compare the values of several names."""
    names = [name for name, _ in gold.values] == [name for name, _ in answer.values]
    return (names or not by.allowed.strict) and by.ordered([value for _, value in gold.values], [value for _, value in answer.values])


def assigned_ordered(values: Assignments, other: Bracketed | Listing, by: Comparison, swapped: bool) -> bool:
    """Compare the values of several names, in the order of the names, with a point or a list."""
    ours = [value for _, value in values.values]
    if isinstance(other, Bracketed) and (other.opening, other.closing) != ("(", ")"):
        return False
    return by.ordered(other.items, ours) if swapped else by.ordered(ours, other.items)


def bracket_list(point: Bracketed, listing: Listing, by: Comparison, swapped: bool) -> bool:
    """A list in the right order answers a point; a point does not answer a list."""
    if not by.allowed.strict:
        return by.ordered(point.items, listing.items)
    return (
        not swapped
        and not listing.worded
        and not _surely_interval(point)
        and (point.opening, point.closing) == ("(", ")")
        and by.ordered(point.items, listing.items)
        and not any(isinstance(item, Named) for item in listing.items)
    )


def _surely_interval(point: Bracketed) -> bool:
    """Return True for ``(-2, 1)`` and ``(a, oo)``: an interval rather than a point."""
    ends = [item.value for item in point.items if isinstance(item, Scalar)]
    if any(end.has(sympy.oo, -sympy.oo) for end in ends):
        return True
    if len(ends) != len(point.items) or len(ends) != 2 or any(end.free_symbols or not end.is_extended_real for end in ends):
        return False
    return bool(ends[0] < 0) and bool(ends[0] < ends[1])


def set_list(found: SetOf, listing: Listing, by: Comparison, swapped: bool) -> bool:
    """A set and a list answer each other, if they have as many items."""
    return by.unordered(listing.items, found.items) if swapped else by.unordered(found.items, listing.items)


def set_bracket(found: SetOf, point: Bracketed, by: Comparison, swapped: bool) -> bool:
    """A set answers a point only if not strict."""
    return not by.allowed.strict and by.unordered(found.items, point.items)


def set_single(found: SetOf, other: Reading, by: Comparison, swapped: bool) -> bool:
    """A set of one number is that number."""
    single = found.items[0] if len(found.items) == 1 else None
    if not isinstance(single, Scalar) or single.value.free_symbols:
        return False
    return by.same(other, found.items[0]) if swapped else by.same(found.items[0], other)


def matrix_bracket(matrix: Matrix, other: Bracketed, by: Comparison, swapped: bool) -> bool:
    """A vector may be a column, a row or a point; a matrix may be rows in brackets."""
    if all(isinstance(row, Bracketed) for row in other.items):
        rows = Matrix(tuple(row.items for row in other.items if isinstance(row, Bracketed)))
        return (other.opening == "[") and (matrices(rows, matrix, by) if swapped else matrices(matrix, rows, by))
    cells = [cell for row in matrix.rows for cell in row]
    if min(len(matrix.rows), max(map(len, matrix.rows))) != 1 or (other.opening, other.closing) not in (("(", ")"), ("[", "]")):
        return False
    return by.ordered(other.items, cells) if swapped else by.ordered(cells, other.items)


def vector_basis(point: Bracketed, vector: Scalar, by: Comparison, swapped: bool) -> bool:
    r"""A vector may be written by its coordinates or as ``2\mathbf{i} - \mathbf{j}``."""
    if point.opening not in "([" or len(point.items) not in (2, 3):
        return False
    coordinates = _coordinates(vector.value, len(point.items))
    if coordinates is None:
        return False
    return by.ordered(coordinates, point.items) if swapped else by.ordered(point.items, coordinates)


def matrix_basis(matrix: Matrix, vector: Scalar, by: Comparison, swapped: bool) -> bool:
    """A column or a row may be written as a vector is."""
    cells = tuple(cell for row in matrix.rows for cell in row)
    return min(len(matrix.rows), max(map(len, matrix.rows))) == 1 and vector_basis(Bracketed("(", ")", cells), vector, by, swapped)


def _coordinates(vector: Any, size: int) -> list[Scalar] | None:
    """Return the factors of the unit vectors, of one style; None if it is anything else."""
    vector = vector.expand()
    for style in ("bold", "vec", "hat"):
        units = [symbol(f"{style}_{letter}") for letter in "ijk"]
        found = [vector.coeff(unit) for unit in units]
        told = sympy.Add(*[factor * unit for factor, unit in zip(found, units, strict=True)])
        if vector.has(*units) and vector == told.expand() and not sympy.Add(*found).has(*units) and not any(found[size:]):
            return [Scalar(factor) for factor in found[:size]]
    return None
