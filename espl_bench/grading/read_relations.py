"""Equations, inequalities and congruences."""

from collections.abc import Sequence
from typing import Any, Final

from espl_bench.grading import read_sets
from espl_bench.grading.functions import symbol, sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.plain_words import may_be_product
from espl_bench.grading.read_names import name_of, names_of
from espl_bench.grading.read_numbers import scalar
from espl_bench.grading.reader import Reader, opaque
from espl_bench.grading.readings import Bracketed, Congruence, Contradiction, Listing, Named, Reading, Region, Relation, Scalar, Words
from espl_bench.grading.scalars import consistent
from espl_bench.grading.token_runs import split, split_points

_EQUALITY: Final = ("=", "approx")
_ORDER: Final = ("<", ">", "<=", ">=", "!=")
RELATIONS: Final = (*_EQUALITY, *_ORDER, "in", "notin", "equiv", "subset")
"""Operators between two sides."""


def relation(reader: Reader, found: list[Token]) -> Reading | None:
    """Read a relation; None if there is no operator between two sides."""
    points = [(place, token.text) for place, token in split_points(found) if token.text in RELATIONS]
    if not points:
        return None
    signs = [text for _, text in points]
    parts = split(found, *RELATIONS)
    if not all(parts):
        raise UnreadableError("a relation without a side")
    if all(sign in _EQUALITY for sign in signs):
        return _equation(reader, parts, signs)
    if all(sign in _ORDER for sign in signs):
        return _inequality(reader, parts, signs)
    if len(parts) == 2 and signs[0] in ("in", "notin"):
        name = name_of(parts[0])
        if name is None:
            raise UnreadableError("a formula in a set")
        inside = read_sets.as_region(reader.value(parts[1]))
        if signs[0] == "notin":
            return Region(name[0], sympy.Complement(sympy.S.Reals, inside.value)) if isinstance(inside, Region) else opaque(found)
        value = reader.value(parts[1])
        return Named(*name, value=inside if isinstance(value, Bracketed) and inside is not None else value)
    raise UnreadableError("relations of different kinds")


def _equation(reader: Reader, parts: list[list[Token]], signs: list[str]) -> Reading:
    name = name_of(parts[0])
    if name is not None and len(parts) > 2:
        return Named(*name, value=_chain(reader, [_named_value(reader, name[0], part) for part in parts[1:]], signs[1:]))
    if name is not None:
        other, value = name_of(parts[1]), _named_value(reader, name[0], parts[1])
        if other and not isinstance(value, Scalar | Words):
            return Named(*other, value=reader.value(parts[0]))
        return Named(*name, value=value)
    if len(parts) == 2 and signs == ["="]:
        backwards = name_of(parts[1])
        if backwards is not None:
            return Named(*backwards, value=reader.value(parts[0]))
        if (points := names_of(parts[0])) is not None:
            return _point(points, reader.value(parts[1]))
        left, right = reader.formula(parts[0]), reader.formula(parts[1])
        if (left - right).free_symbols or left.atoms(sympy.Function) | right.atoms(sympy.Function):  # noqa: SIM102
            if not consistent(Scalar(left), Scalar(right)):
                return Relation("=", left, right)
    return _chain(reader, [reader.value(part) for part in parts], signs)


def _named_value(reader: Reader, name: str, part: list[Token]) -> Reading:
    """Read the value of a name. That of a letter, or of a product of letters, may be a product of letters: ``F = ma``, ``PV = nRT``."""
    letters = name.partition("_")[0]
    of_letters = len(letters) == 1 or (len(letters) < 4 and letters.isupper())
    return Scalar(reader.formula(part)) if of_letters and may_be_product(part, capitals=True) else reader.value(part)


def _point(names: list[str], value: Reading) -> Reading:
    """Return ``(x, y) = (1, 2)`` as a value for each name."""
    if isinstance(value, Bracketed) and len(value.items) == len(names):
        return Listing(tuple(Named(name, (), item) for name, item in zip(names, value.items, strict=True)))
    return Named(",".join(names), (), value)


def _chain(reader: Reader, values: list[Reading], signs: list[str]) -> Reading:
    """Return the value of ``a = b = c``: one of them if all agree."""
    first = values[0]
    for value, sign in zip(values[1:], signs, strict=True):
        agree = isinstance(first, Scalar) and isinstance(value, Scalar) and consistent(first, value, rounded=sign == "approx")
        if not (agree or (first == value and not isinstance(first, Scalar))):
            return Contradiction("its sides differ")
    return first


def _inequality(reader: Reader, parts: list[list[Token]], signs: list[str]) -> Reading:
    names = [name_of(part) for part in parts]
    places = [place for place, name in enumerate(names) if name is not None and not name[1]]
    if len(places) == 1:
        name = names[places[0]]
        assert name is not None
        if signs == ["!="] and (points := _excluded(reader, parts[1 - places[0]])) is not None:
            return Region(name[0], sympy.Complement(sympy.S.Reals, points))
        bounds = {place: scalar(part, reader.by) for place, part in enumerate(parts) if place != places[0]}
        if not any(bound.value.free_symbols for bound in bounds.values()):
            region = read_sets.from_bounds(places[0], {place: bound.value for place, bound in bounds.items()}, signs)
            if region is not None:
                return Region(name[0], region)
    if len(parts) == 2:
        left, right = reader.formula(parts[0]), reader.formula(parts[1])
        if not (left - right).free_symbols:
            raise UnreadableError("an inequality of numbers")
        return Relation(signs[0], left, right)
    if len(parts) == 3 and not places:
        raise UnreadableError("a chain of inequalities")
    return opaque([token for part in parts for token in part] + [Token("op", sign) for sign in signs])


def _excluded(reader: Reader, part: list[Token]) -> Any | None:
    r"""Return the points of ``\\pm 1``, which a name is not equal to; None if it is one value."""
    if not any(token.kind == "op" and token.text in ("pm", "mp") for token in part):
        return None
    value = reader.value(part)
    items = [item.value for item in value.items if isinstance(item, Scalar)] if isinstance(value, Listing) else []
    return sympy.FiniteSet(*items) if len(items) == 2 and not any(item.free_symbols for item in items) else None


def congruence(reader: Reader, found: list[Token]) -> Reading | None:
    """Read a congruence or a remainder with its modulus; None if it is anything else."""
    places = [n for n, token in enumerate(found) if token.kind == "cmd" and token.text in ("pmod", "modulo")]
    if len(places) > 1 or any(token.text in (",", "or", "and") for token in (found[places[0] :] if places else ())):
        return None
    place = places[0] if places else None
    equiv = next((n for n, token in split_points(found) if token.text == "equiv"), None)
    if place is None and equiv is not None:  # x \equiv 3 (mod 7)
        place = next((n for n, token in enumerate(found) if token.text in ("mod", "bmod")), None)
        if place and found[place - 1].text == "(":
            found = [*found[: place - 1], found[place], *[token for token in found[place + 1 :] if token.text != ")"]]
            place -= 1
    if place is None:
        return None
    modulus = reader.formula([token for token in found[place + 1 :] if token.text not in "()"])
    before = found[:place]
    if before and before[-1].text in ("(", ","):
        before = before[:-1]
    sides = split(before, "equiv", "=")
    if len(sides) == 1:
        return Congruence(None, reader.formula(sides[0]), modulus)
    if len(sides) != 2:
        raise UnreadableError("a chain of congruences")
    residues = [reader.formula(part) for part in split(sides[1], ",", "or", "and")]
    subject = reader.formula(sides[0])
    if len(residues) > 1:
        return Listing(tuple(Congruence(subject, residue, modulus) for residue in residues))
    return Congruence(subject, residues[0], modulus)


def parity(found: Sequence[Token]) -> Congruence | None:
    """Read ``n odd`` and ``n is even``; None if it is anything else."""
    said = [word for token in found[1:] for word in token.text.lower().split() if token.kind in ("words", "letters")]
    name = name_of(found[:1]) if found[0].kind in ("letters", "symbol") else None
    if name is None or len(found) not in (2, 3) or said[-1:] not in (["odd"], ["even"]) or said[:-1] not in ([], ["is"]):
        return None
    return Congruence(symbol(name[0]), sympy.Integer(said[-1] == "odd"), sympy.Integer(2))
