"""Compare two readings: which kinds can answer which, and how."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sympy.core.function import AppliedUndef  # pyright: ignore[reportMissingTypeStubs]

from espl_bench.grading import read_sets, scalars
from espl_bench.grading.functions import symbol, sympy
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
from espl_bench.grading.worded_meanings import same_meaning, worded_set
from espl_bench.grading.worded_numbers import worded_number
from espl_bench.grading.words import same_words

_FLIPPED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}
_MOST_ITEMS: Final = 200
_VALUELESS: Final = (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What may differ."""

    places: int = 6
    """Decimals from which on a decimal answers an exact number."""
    strict: bool = True
    """A set is not a tuple, and the names of variables count."""
    relations_for_sets: bool = True
    """An inequality answers a gold set."""


def same(gold: Reading, answer: Reading, allowed: Tolerance) -> bool:
    """Return True if an answer is the gold answer."""
    gold, answer = gathered(gold), gathered(answer)
    if isinstance(gold, Contradiction) or isinstance(answer, Contradiction):
        return False
    if not allowed.relations_for_sets and isinstance(answer, Region) and answer.variable and not _is_inequality(gold):
        return False
    if type(gold) is type(answer):
        return _SAME_KIND[type(gold)](gold, answer, allowed)
    for left, right, swapped in ((gold, answer, False), (answer, gold, True)):
        rule = _ACROSS.get((type(left), type(right)))
        if rule is not None:
            return rule(left, right, allowed, swapped)
    for left, right in ((gold, answer), (answer, gold)):
        if isinstance(left, Relation) and isinstance(right, Bracketed) and (region := read_sets.as_region(right)) is not None:
            return _region_relation(region, left, allowed, False)
    return _as_regions(gold, answer)


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


def _is_inequality(reading: Reading) -> bool:
    return (isinstance(reading, Region) and reading.variable is not None) or isinstance(reading, Relation | Scalar)


def _scalars(gold: Scalar, answer: Scalar, allowed: Tolerance) -> bool:
    if scalars.same_scalar(gold, answer, allowed.places):
        return True
    for change in (_with_j, _with_other_bold):
        changed = change(gold.value, answer.value)
        if changed is not None and scalars.same_scalar(replace(gold, value=changed[0]), replace(answer, value=changed[1]), allowed.places):
            return True
    return not allowed.strict and _same_but_names(gold.value, answer.value)


def _with_j(gold: Any, answer: Any) -> tuple[Any, Any] | None:
    """Read an engineer's j as the imaginary unit, if the gold answer is complex and has no j."""
    j = symbol("j")
    if gold.has(sympy.I) and not gold.has(j) and answer.has(j) and not answer.has(sympy.I):
        return gold, answer.xreplace({j: sympy.I})
    return None


def _with_other_bold(gold: Any, answer: Any) -> tuple[Any, Any] | None:
    """Take bold letters for plain ones where only one side has any."""
    bold = [[name for name in side.free_symbols if str(name).startswith("bold_")] for side in (gold, answer)]
    if bool(bold[0]) == bool(bold[1]):
        return None
    plain = [
        side.xreplace({name: _plain_letter(str(name)[5:]) for name in names}) for side, names in zip((gold, answer), bold, strict=True)
    ]
    return plain[0], plain[1]


def _plain_letter(name: str) -> Any:
    return sympy.E if name == "e" else symbol(name)


def _same_but_names(gold: Any, answer: Any) -> bool:
    ours, theirs = (sorted(side.free_symbols, key=str) for side in (gold, answer))
    return len(ours) == len(theirs) > 0 and scalars.same_formula(gold, answer.xreplace(dict(zip(theirs, ours, strict=True))), rename=False)


def _quantities(gold: Quantity, answer: Quantity, allowed: Tolerance) -> bool:
    if gold.compound != answer.compound:
        return False
    if gold.unit.powers != answer.unit.powers:
        return _alike_nouns(gold, answer) and _scalars(gold.amount, answer.amount, allowed)
    if gold.unit.factor == answer.unit.factor:
        return _scalars(gold.amount, answer.amount, allowed)
    gold_value, value = (q.amount.value * sympy.Rational(str(q.unit.factor)) for q in (gold, answer))
    return scalars.same_number(gold_value, value) if not (gold_value - value).free_symbols else scalars.same_formula(gold_value, value)


def _alike_nouns(gold: Quantity, answer: Quantity) -> bool:
    """Return True for counts of the same thing: ``apple`` and ``apples``, ``unit`` and anything."""
    names = [q.unit.powers[0][0] if len(q.unit.powers) == 1 and q.unit.powers[0][1] == 1 else "" for q in (gold, answer)]
    return bool(names[0]) and bool(names[1]) and names[0].rstrip("s") == names[1].rstrip("s")


def _ordered(gold: Sequence[Reading], answer: Sequence[Reading], allowed: Tolerance) -> bool:
    return len(gold) == len(answer) and all(same(left, right, allowed) for left, right in zip(gold, answer, strict=True))


def _unordered(gold: Sequence[Reading], answer: Sequence[Reading], allowed: Tolerance) -> bool:
    """Compare as multisets: every item of one side has a partner of its own."""
    if len(gold) != len(answer) or len(gold) > _MOST_ITEMS:
        return False
    left = list(answer)
    for item in gold:
        place = next((n for n, other in enumerate(left) if same(item, other, allowed)), None)
        if place is None:
            return False
        del left[place]
    return True


def _brackets(gold: Bracketed, answer: Bracketed, allowed: Tolerance) -> bool:
    alike = (gold.opening, gold.closing) == (answer.opening, answer.closing) or not allowed.strict
    return alike and _ordered(gold.items, answer.items, allowed)


def _sets(gold: SetOf, answer: SetOf, allowed: Tolerance) -> bool:
    def distinct(items: Sequence[Reading]) -> list[Reading]:
        kept: list[Reading] = []
        for item in items[:_MOST_ITEMS]:
            if not any(same(item, other, allowed) for other in kept):
                kept.append(item)
        return kept

    return _unordered(distinct(_spelled(gold.items)), distinct(_spelled(answer.items)), allowed)


def _listings(gold: Listing, answer: Listing, allowed: Tolerance) -> bool:
    if any(isinstance(item, Dots) for item in (*gold.items, *answer.items)):
        return _ordered(_spelled(gold.items), _spelled(answer.items), allowed)
    return _unordered(gold.items, answer.items, allowed)


def _dots(gold: Dots, answer: Dots, allowed: Tolerance) -> bool:
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
    return [Scalar(known[0] + step * n) for n in range(count)] if 0 < count <= _MOST_ITEMS else items


def _names(gold: Named, answer: Named, allowed: Tolerance) -> bool:
    if gold.arguments and len(gold.arguments) == len(answer.arguments) and gold.name == answer.name:
        if isinstance(gold.value, Scalar) and isinstance(answer.value, Scalar):
            renamed = answer.value.value.xreplace({symbol(b): symbol(a) for a, b in zip(gold.arguments, answer.arguments, strict=True)})
            return _scalars(gold.value, replace(answer.value, value=renamed), allowed)
    elif gold.name == answer.name or (not allowed.strict and not gold.arguments):
        return same(gold.value, answer.value, allowed)
    if isinstance(gold.value, Scalar) and isinstance(answer.value, Scalar) and not (gold.arguments or answer.arguments):  # noqa: SIM102
        if gold.value.value.free_symbols and answer.value.value.free_symbols:
            return _relations(_equation(gold), _equation(answer), allowed)
    return gold.arguments == answer.arguments and gold.name == answer.name and same(gold.value, answer.value, allowed)


def _equation(reading: Named | Scalar) -> Relation:
    assert isinstance(reading, Named) and isinstance(reading.value, Scalar)
    if not reading.arguments and len(reading.name) in (2, 3) and reading.name.isalpha() and reading.name.isupper():  # PV = nRT
        return Relation("=", sympy.Mul(*[symbol(letter) for letter in reading.name]), reading.value.value)
    name = reading.name if not reading.arguments else f"{reading.name}({','.join(reading.arguments)})"
    return Relation("=", symbol(name), reading.value.value)


def _assignments(gold: Assignments, answer: Assignments, allowed: Tolerance) -> bool:
    names = [name for name, _ in gold.values] == [name for name, _ in answer.values]
    return (names or not allowed.strict) and _ordered([value for _, value in gold.values], [value for _, value in answer.values], allowed)


def _relations(gold: Relation, answer: Relation, allowed: Tolerance) -> bool:
    """Compare equations and inequalities up to a factor: a number for both, whose sign turns an inequality round."""
    signs = (gold.sign, _FLIPPED[answer.sign])
    if answer.sign not in (gold.sign, _FLIPPED[gold.sign]):
        return False
    ours, theirs = (sympy.together(side.left - side.right) for side in (gold, answer))
    if ours.free_symbols != theirs.free_symbols:
        return False
    if gold.sign in ("=", "!="):
        ours, theirs = (sympy.fraction(sympy.together(sympy.expand(side)))[0] for side in (ours, theirs))
    ratio = _constant_ratio(ours, theirs)
    if ratio is None or ratio == 0:
        return gold.sign == "=" and _same_real_roots(ours, theirs)
    if gold.sign in ("=", "!="):
        return True
    return (
        bool(ratio > 0)
        if answer.sign == gold.sign
        else (bool(ratio < 0) and answer.sign == signs[1]) or (answer.sign == _FLIPPED[gold.sign] and bool(ratio < 0))
    )


def _constant_ratio(ours: Any, theirs: Any) -> Any | None:
    """Return ours divided by theirs if that is one number."""
    variables = sorted(ours.free_symbols, key=str)
    if not variables:
        return None
    point = {name: sympy.Rational(137 + 29 * place, 61) for place, name in enumerate(variables)}
    try:
        below = theirs.xreplace(point)
        if below.is_zero or not below.is_number:
            return None
        ratio = sympy.nsimplify((ours.xreplace(point) / below), rational=False) if False else ours.xreplace(point) / below
        if not ratio.is_number or not ratio.is_finite:
            return None
        return ratio if scalars.same_formula(ours, ratio * theirs, rename=False) else None
    except _VALUELESS:
        return None


def _same_real_roots(ours: Any, theirs: Any) -> bool:
    """Compare the real factors of two polynomials: ``y^3 = x^3`` is ``y = x``."""
    variables = sorted(ours.free_symbols, key=str)
    if not (ours.is_polynomial(*variables) and theirs.is_polynomial(*variables)):
        return False
    try:
        kept = [
            {_monic(factor) for factor, _ in sympy.factor_list(side)[1] if not _without_roots(factor, variables)} for side in (ours, theirs)
        ]
    except _VALUELESS:
        return False
    return bool(kept[0]) and kept[0] == kept[1]


def _monic(factor: Any) -> Any:
    polynomial = sympy.Poly(factor, *sorted(factor.free_symbols, key=str))
    return (polynomial / polynomial.LC() if False else polynomial.monic()).as_expr()


def _without_roots(factor: Any, variables: Sequence[Any]) -> bool:
    """Return True for a definite quadratic form: it is zero nowhere but at the origin, where the other factors are."""
    polynomial = sympy.Poly(factor, *variables)
    if polynomial.total_degree() != 2 or not polynomial.is_homogeneous or len(variables) > 3:
        return False
    matrix = sympy.hessian(factor, variables)
    return bool(matrix.is_positive_definite or matrix.is_negative_definite)


def _regions(gold: Region, answer: Region, allowed: Tolerance) -> bool:
    if gold.variable and answer.variable and gold.variable != answer.variable and allowed.strict:
        return False
    return _same_set(gold.value, answer.value)


def _same_set(gold: Any, answer: Any) -> bool:
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


def _as_regions(gold: Reading, answer: Reading) -> bool:
    """Compare as sets of real numbers, if one side is surely one and the other can be."""
    if not (isinstance(gold, Region) or isinstance(answer, Region)):
        return False
    ours, theirs = read_sets.as_region(gold), read_sets.as_region(answer)
    return ours is not None and theirs is not None and _same_set(ours.value, theirs.value)


def _congruences(gold: Congruence, answer: Congruence, allowed: Tolerance) -> bool:
    if gold.subject is not None and answer.subject is not None and gold.subject != answer.subject and allowed.strict:
        return False
    if gold.modulus != answer.modulus:
        return False
    difference = gold.residue - answer.residue
    if difference.is_Integer and gold.modulus.is_Integer and gold.modulus:
        return int(difference) % int(gold.modulus) == 0
    return scalars.same_formula(gold.residue, answer.residue, rename=False)


def _ratios(gold: Ratio, answer: Ratio, allowed: Tolerance) -> bool:
    if gold.minutes is not None and answer.minutes is not None:
        return _same_time(gold, answer)
    if gold.minutes is not None or gold.half or answer.half or len(gold.parts) != len(answer.parts):
        return False
    if not all(isinstance(part, Scalar) for part in (*gold.parts, *answer.parts)):
        return _ordered(gold.parts, answer.parts, allowed)
    ours, theirs = ([part.value for part in side.parts if isinstance(part, Scalar)] for side in (gold, answer))
    return (
        all(
            scalars.same_formula(a * theirs[0], b * ours[0], rename=False)
            if (a * theirs[0] - b * ours[0]).free_symbols
            else scalars.same_number(a * theirs[0], b * ours[0])
            for a, b in zip(ours, theirs, strict=True)
        )
        and ours[0] != 0 != theirs[0]
    )


def _same_time(gold: Ratio, answer: Ratio) -> bool:
    """Compare times of day; one without half a day means the other's."""
    assert gold.minutes is not None and answer.minutes is not None
    if gold.half and answer.half:
        return gold.minutes == answer.minutes
    if gold.half or answer.half:
        plain, told = (answer, gold) if gold.half else (gold, answer)
        assert plain.minutes is not None and told.minutes is not None
        on_the_clock = plain.minutes < 13 * 60 and plain.minutes % 720 == told.minutes % 720
        return plain.minutes == told.minutes or on_the_clock
    return gold.minutes == answer.minutes


def _in_bases(gold: InBase, answer: InBase, allowed: Tolerance) -> bool:
    return gold.value == answer.value >= 0 and (gold.base == answer.base or gold.base != answer.base)


def _matrices(gold: Matrix, answer: Matrix, allowed: Tolerance) -> bool:
    return len(gold.rows) == len(answer.rows) and all(_ordered(a, b, allowed) for a, b in zip(gold.rows, answer.rows, strict=True))


def _cases(gold: Cases, answer: Cases, allowed: Tolerance) -> bool:
    left = list(answer.rows)
    for value, condition in gold.rows:
        place = next((n for n, (other, when) in enumerate(left) if same(condition, when, allowed) and same(value, other, allowed)), None)
        if place is None:
            return False
        del left[place]
    return not left


def _words(gold: Words, answer: Words, allowed: Tolerance) -> bool:
    return same_words(answer.text, gold.text) or same_meaning(answer.text, gold.text)


def _opaques(gold: Opaque, answer: Opaque, allowed: Tolerance) -> bool:
    return gold.tokens == answer.tokens


_SAME_KIND: Final[dict[type, Callable[[Any, Any, Tolerance], bool]]] = {
    Scalar: _scalars,
    Quantity: _quantities,
    Bracketed: _brackets,
    SetOf: _sets,
    Listing: _listings,
    Named: _names,
    Assignments: _assignments,
    Relation: _relations,
    Region: _regions,
    Congruence: _congruences,
    Ratio: _ratios,
    InBase: _in_bases,
    Matrix: _matrices,
    Cases: _cases,
    Words: _words,
    Opaque: _opaques,
    Dots: _dots,
}


def _quantity_scalar(quantity: Quantity, number: Scalar, allowed: Tolerance, swapped: bool) -> bool:
    gold, answer = (number, quantity.amount) if swapped else (quantity.amount, number)
    if number.percent and not quantity.amount.percent:  # a percent sign is no kilogram
        return False
    if _scalars(gold, answer, allowed):
        return True
    if quantity.unit.powers != (("degree", 1),) or quantity.amount.value.free_symbols:
        return False
    radians = quantity.amount.value * sympy.pi / 180
    if not swapped and number.decimals is not None and number.decimals >= allowed.places:
        return scalars.same_scalar(Scalar(radians), number, allowed.places)
    return number.value.has(sympy.pi) and scalars.same_number(radians, number.value)


def _named_any(named: Named, other: Reading, allowed: Tolerance, swapped: bool) -> bool:
    """Compare the value of a name with an answer that names nothing."""
    if isinstance(other, Relation) and isinstance(named.value, Scalar):
        equation = _equation(named)
        return _relations(other, equation, allowed) if swapped else _relations(equation, other, allowed)
    if isinstance(named.value, Listing) and isinstance(other, Bracketed | Assignments):
        return False
    if isinstance(other, Region) and other.variable and other.variable != named.name and allowed.strict:
        return False
    return same(other, named.value, allowed) if swapped else same(named.value, other, allowed)


def _assigned_ordered(values: Assignments, other: Bracketed | Listing, allowed: Tolerance, swapped: bool) -> bool:
    ours = [value for _, value in values.values]
    if isinstance(other, Bracketed) and (other.opening, other.closing) != ("(", ")"):
        return False
    return _ordered(other.items, ours, allowed) if swapped else _ordered(ours, other.items, allowed)


def _bracket_list(point: Bracketed, listing: Listing, allowed: Tolerance, swapped: bool) -> bool:
    """A list in the right order answers a point; a point does not answer a list."""
    if not allowed.strict:
        return _ordered(point.items, listing.items, allowed)
    return (
        not swapped
        and not listing.worded
        and not _surely_interval(point)
        and (point.opening, point.closing) == ("(", ")")
        and _ordered(point.items, listing.items, allowed)
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


def _set_list(found: SetOf, listing: Listing, allowed: Tolerance, swapped: bool) -> bool:
    return _unordered(listing.items, found.items, allowed) if swapped else _unordered(found.items, listing.items, allowed)


def _set_bracket(found: SetOf, point: Bracketed, allowed: Tolerance, swapped: bool) -> bool:
    return not allowed.strict and _unordered(found.items, point.items, allowed)


def _set_single(found: SetOf, other: Reading, allowed: Tolerance, swapped: bool) -> bool:
    single = found.items[0] if len(found.items) == 1 else None
    if not isinstance(single, Scalar) or single.value.free_symbols:
        return False
    return same(other, found.items[0], allowed) if swapped else same(found.items[0], other, allowed)


def _base_scalar(based: InBase, number: Scalar, allowed: Tolerance, swapped: bool) -> bool:
    """A number without a base has the gold answer's: 52 answers ``52_8``; ``1101_2`` answers 13."""
    value = number.value
    if not value.is_Integer or number.decimals is not None:
        return False
    return int(value) == based.value if swapped else str(value) == based.digits


def _ratio_scalar(ratio: Ratio, number: Scalar, allowed: Tolerance, swapped: bool) -> bool:
    parts = [part.value for part in ratio.parts if isinstance(part, Scalar)]
    if len(parts) != 2 or len(ratio.parts) != 2 or ratio.minutes is not None or not parts[1]:
        return False
    return number.value.is_Integer is not True and scalars.same_scalar(Scalar(parts[0] / parts[1]), number)


def _region_relation(region: Region, relation: Relation, allowed: Tolerance, swapped: bool) -> bool:
    """Solve an inequality in one variable."""
    names = (relation.left - relation.right).free_symbols
    if len(names) != 1 or relation.sign == "=":
        return False
    (name,) = names
    if region.variable not in (None, str(name)):
        return False
    kinds: dict[str, Any] = {"<": sympy.Lt, ">": sympy.Gt, "<=": sympy.Le, ">=": sympy.Ge, "!=": sympy.Ne}
    try:
        solved = sympy.solveset(kinds[relation.sign](relation.left, relation.right), name, sympy.S.Reals)
    except _VALUELESS:
        return False
    return _same_set(region.value, solved)


def _congruence_scalar(found: Congruence, number: Scalar, allowed: Tolerance, swapped: bool) -> bool:
    """A gold number is answered by the remainder with its modulus: ``3 (mod 7)``."""
    if not swapped or found.subject is not None or not all(value.is_Integer for value in (found.residue, found.modulus, number.value)):
        return False
    if found.residue == number.value:
        return True
    return bool(0 <= number.value < found.modulus) and int(found.residue - number.value) % int(found.modulus) == 0


def _relation_scalar(relation: Relation, number: Scalar, allowed: Tolerance, swapped: bool) -> bool:
    """A gold number is answered by an equation that says what it is the value of: ``m + n = 42``, ``f(3) = 42``."""
    if not swapped or relation.sign != "=" or relation.right.free_symbols or number.value.free_symbols:
        return False
    said = len(relation.left.free_symbols) > 1 or relation.left.has(sympy.Abs) or bool(relation.left.atoms(AppliedUndef))
    return said and scalars.same_scalar(number, Scalar(relation.right), allowed.places)


def _matrix_bracket(matrix: Matrix, other: Bracketed, allowed: Tolerance, swapped: bool) -> bool:
    """A vector may be a column, a row or a point; a matrix may be rows in brackets."""
    if all(isinstance(row, Bracketed) for row in other.items):
        rows = Matrix(tuple(row.items for row in other.items if isinstance(row, Bracketed)))
        return (other.opening == "[") and (_matrices(rows, matrix, allowed) if swapped else _matrices(matrix, rows, allowed))
    cells = [cell for row in matrix.rows for cell in row]
    if min(len(matrix.rows), max(map(len, matrix.rows))) != 1 or (other.opening, other.closing) not in (("(", ")"), ("[", "]")):
        return False
    return _ordered(other.items, cells, allowed) if swapped else _ordered(cells, other.items, allowed)


def _words_any(words: Words, other: Reading, allowed: Tolerance, swapped: bool) -> bool:
    if isinstance(other, Scalar) and other.decimals is None and not other.percent:
        return other.value == worded_number(words.text.strip(" ."))
    named = worded_set(words.text)
    return isinstance(other, Region) and named is not None and _same_set(named, other.value)


_ANYTHING: Final = (Scalar, Quantity, Bracketed, SetOf, Listing, Region, Relation, Assignments, Ratio, InBase, Matrix, Cases, Words, Opaque)
_ACROSS: Final[dict[tuple[type, type], Callable[[Any, Any, Tolerance, bool], bool]]] = {
    (Quantity, Scalar): _quantity_scalar,
    (Assignments, Bracketed): _assigned_ordered,
    (Assignments, Listing): _assigned_ordered,
    (Bracketed, Listing): _bracket_list,
    (SetOf, Listing): _set_list,
    (SetOf, Bracketed): _set_bracket,
    (SetOf, Scalar): _set_single,
    (SetOf, Quantity): _set_single,
    (InBase, Scalar): _base_scalar,
    (Ratio, Scalar): _ratio_scalar,
    (Region, Relation): _region_relation,
    (Relation, Scalar): _relation_scalar,
    (Congruence, Scalar): _congruence_scalar,
    (Matrix, Bracketed): _matrix_bracket,
    (Words, Region): _words_any,
    (Words, Scalar): _words_any,
    **{(Named, kind): _named_any for kind in _ANYTHING},
}
