# ruff: noqa: SIM905  (tables of words)
r"""Read an answer: text to one typed value (readings.py). What stands at the outermost level decides which kind it is.

What stands around it is cut away first (trimming.py). In order: words alone; lists; relations; sets; brackets; ratios and times; and at
last a number or a formula, perhaps with a unit. Nothing is cut off: a text that is not understood to its end is `UnreadableError`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from espl_bench.grading import read_sets
from espl_bench.grading.expressions import PLAIN_CONSTANTS, USUAL, Conventions, expression
from espl_bench.grading.functions import symbol, sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.notation_tables import FUNCTIONS
from espl_bench.grading.read_amounts import amount, date, in_base, ratio, scalar
from espl_bench.grading.readings import (
    Bracketed,
    Cases,
    Congruence,
    Contradiction,
    Dots,
    Listing,
    Matrix,
    Named,
    Opaque,
    Reading,
    Region,
    Relation,
    Scalar,
    SetOf,
    Words,
)
from espl_bench.grading.sameness import gathered
from espl_bench.grading.scalars import consistent
from espl_bench.grading.token_runs import matching, spelt, split, split_points
from espl_bench.grading.trimming import bare, trimmed, without_lead

_EQUALITY: Final = ("=", "approx")
_ORDER: Final = ("<", ">", "<=", ">=", "!=")
_RELATIONS: Final = (*_EQUALITY, *_ORDER, "in", "notin", "equiv", "subset")
_GREEK: Final = frozenset("alpha beta gamma delta epsilon theta lambda mu rho sigma phi psi omega".split())
_MATHS_WORDS: Final = (
    frozenset(PLAIN_CONSTANTS)
    | _GREEK
    | {name for name in FUNCTIONS if len(name) == 3 or name == "ln"} - {"deg", "dim", "max", "min", "arg", "det"}
)


def read(found: Sequence[Token], by: Conventions = USUAL) -> Reading:
    """Read tokens. Raises UnreadableError."""
    return _Reader(by).value(bare(found))


def is_words(found: Sequence[Token]) -> bool:
    """Return True if there is no operator, digit or command: words, or letters."""
    runs = [token for token in found if token.kind in ("words", "letters")]
    if not runs or any(token.kind == "letters" and token.text in _MATHS_WORDS for token in runs):
        return False
    if found[0].text == "-" or (
        len(runs) > 1 and any(token.text in ("-", "(", "'") for token in found) and not any(len(token.text.strip()) > 2 for token in runs)
    ):
        return False
    for before, token in zip((None, *found), found, strict=False):
        if (
            before is not None
            and token.text == "'"
            and (before.text == "'" or (before.kind == "letters" and len(before.text) == 1 and found[-1] is token))
        ):
            return False
        if before is not None and token.text == "(" and before.kind == "letters" and not token.spaced:
            return False
        if token.kind in ("open", "close"):
            if token.text not in "(){}":
                return False
        elif token.kind == "op":
            if token.text not in (",", ".", ";", ":", "'", "?", "and", "or") and not (token.text == "-" and not token.spaced):
                return False
        elif token.kind not in ("words", "letters"):
            return False
    return True


class _Reader:
    """The kinds of values, outermost first."""

    def __init__(self, by: Conventions) -> None:
        self.by = by
        self.depth = 0

    def value(self, found: Sequence[Token]) -> Reading:
        self.depth += 1
        if self.depth > 40:
            raise UnreadableError("it is nested too deeply")
        try:
            return self._value(trimmed(found))
        finally:
            self.depth -= 1

    def _value(self, found: list[Token]) -> Reading:
        if not found:
            raise UnreadableError("there is nothing")
        if found == [Token("op", "dots", found[0].spaced)]:
            return Dots()
        if (parity := _parity(found)) is not None:
            return parity
        if is_words(found) and not (len(found) == 1 and found[0].kind == "letters" and len(found[0].text) == 1):  # noqa: SIM102
            if not any(token.text in (",", ";", "and", "or") for token in found if token.kind == "op"):
                return Words(" ".join(token.text for token in found))
        if (day := date(found)) is not None:
            return day
        found = _mended_brackets(found)
        for attempt in (
            self._table,
            self._transposed,
            self._congruence,
            self._listing,
            self._relation,
            self._set,
            self._bracketed,
            self._plus_minus,
        ):
            reading = attempt(found)
            if reading is not None:
                return reading
        return ratio(found, self.value) or in_base(found) or amount(found, self.by)

    def formula(self, found: Sequence[Token]) -> Any:
        """Read a formula without a unit."""
        return expression(trimmed(found), self.by)

    def _table(self, found: list[Token]) -> Reading | None:
        begin = next((place for place, token in enumerate(found) if token.kind == "cmd" and token.text.startswith("begin ")), 0)
        if (
            begin
            and not any(token.text in _RELATIONS for token in found[:begin])
            and found[begin].text.endswith("matrix")
            and "vmatrix" not in found[begin].text
            and found[-1].text == found[begin].text.replace("begin", "end")
        ):
            return self._multiple(self.formula(found[:begin]) if found[0].text != "-" or begin > 1 else sympy.Integer(-1), found[begin:])
        first, last = found[0], found[-1]
        if first.kind != "cmd" or not first.text.startswith("begin ") or last.text != first.text.replace("begin", "end"):
            return None
        kind = first.text.removeprefix("begin ")
        rows = [split(row, "&") for row in split(found[1:-1], "newline") if row]
        if kind == "vmatrix":
            return None
        if kind == "cases" and all(len(row) == 1 for row in rows):  # a system of equations
            return self.value([token for row in rows for token in (Token("op", ","), *row[0])][1:])
        if kind == "cases":
            pairs = [(row[0], [token for part in row[1:] for token in part]) for row in rows]
            return Cases(tuple((self.value(value), self._condition(condition)) for value, condition in pairs))
        if kind in ("array", "matrix") and len(rows) == len(rows[0]) == 1:
            return self.value(rows[0][0])
        return Matrix(tuple(tuple(self.value(cell) for cell in row) for row in rows))

    def _condition(self, found: Sequence[Token]) -> Reading:
        """Read the condition of a case, without the word if; as text if it is no relation."""
        text = _condition(found)
        bare = trimmed([token for token in found if token.text.strip(" ,").lower() not in ("if", "for", "when", "")])
        try:
            return self.value(bare) if bare and any(token.text in _RELATIONS for token in bare) else Words(text)
        except UnreadableError:
            return Words(text)

    def _transposed(self, found: list[Token]) -> Reading | None:
        r"""Read a vector or matrix with ``^T``: a column for a point."""
        end = next((n for n in (len(found) - 2, len(found) - 4) if n > 0 and found[n].text == "^"), 0)
        if not end or spelt(found[end + 1 :]) not in ("T", "top", "t", "intercal") or found[end - 1].kind not in ("close", "cmd"):
            return None
        value = self.value(found[:end])
        if isinstance(value, Bracketed) and (value.opening, value.closing) in (("(", ")"), ("[", "]")):
            return Matrix(tuple((item,) for item in value.items))
        if isinstance(value, Matrix) and len({len(row) for row in value.rows}) == 1:
            return Matrix(tuple(zip(*value.rows, strict=True)))
        return None

    def _multiple(self, factor: Any, found: list[Token]) -> Reading:
        """Read a number times a matrix."""
        matrix = self._table(found)
        if not isinstance(matrix, Matrix) or not all(isinstance(cell, Scalar) for row in matrix.rows for cell in row):
            raise UnreadableError("a product with a matrix")
        return Matrix(tuple(tuple(Scalar(factor * cell.value) for cell in row if isinstance(cell, Scalar)) for row in matrix.rows))

    def _listing(self, found: list[Token]) -> Reading | None:
        points = [(place, token.text) for place, token in split_points(found) if token.text in (",", ";", "and", "or", "newline")]
        if not points:
            return None
        signs = {text for _, text in points}
        parts = split(found, *signs)
        if signs & {"and", "or"} and not (parts[0] and parts[-1]):
            raise UnreadableError("a list that goes on")
        parts = [part for part in parts if part]
        if any(is_words(part) and any(len(token.text) > 12 for token in part) for part in parts):
            raise UnreadableError("a sentence")
        items = _points(tuple(self.value(without_lead(part)) for part in _without_labels(parts)))
        regions = [item for item in items if isinstance(item, Region)]
        excluding = signs == {","} and any(token.text == "!=" for token in found)  # 1 < x < 3, x != 2
        if len(regions) == len(items) and len({item.variable for item in regions}) == 1 and (excluding or signs in ({"or"}, {"and"})):
            join: Callable[..., Any] = sympy.Union if signs == {"or"} else sympy.Intersection
            return Region(regions[0].variable, join(*[item.value for item in regions]))
        flat = [part for item in items for part in (item.items if isinstance(item, Listing) else (item,))]
        plain = signs <= {",", ";"} and not any(isinstance(item, Listing) and item.worded for item in items)
        return Listing(tuple(flat), worded=not plain) if len(flat) > 1 else flat[0]

    def _congruence(self, found: list[Token]) -> Reading | None:
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
        modulus = self.formula([token for token in found[place + 1 :] if token.text not in "()"])
        before = found[:place]
        if before and before[-1].text in ("(", ","):
            before = before[:-1]
        sides = split(before, "equiv", "=")
        if len(sides) == 1:
            return Congruence(None, self.formula(sides[0]), modulus)
        if len(sides) != 2:
            raise UnreadableError("a chain of congruences")
        residues = [self.formula(part) for part in split(sides[1], ",", "or", "and")]
        subject = self.formula(sides[0])
        if len(residues) > 1:
            return Listing(tuple(Congruence(subject, residue, modulus) for residue in residues))
        return Congruence(subject, residues[0], modulus)

    def _relation(self, found: list[Token]) -> Reading | None:
        points = [(place, token.text) for place, token in split_points(found) if token.text in _RELATIONS]
        if not points:
            return None
        signs = [text for _, text in points]
        parts = split(found, *_RELATIONS)
        if not all(parts):
            raise UnreadableError("a relation without a side")
        if all(sign in _EQUALITY for sign in signs):
            return self._equation(parts, signs)
        if all(sign in _ORDER for sign in signs):
            return self._inequality(parts, signs)
        if len(parts) == 2 and signs[0] in ("in", "notin"):
            name = _name(parts[0])
            if name is None:
                raise UnreadableError("a formula in a set")
            inside = read_sets.as_region(self.value(parts[1]))
            if signs[0] == "notin":
                return Region(name[0], sympy.Complement(sympy.S.Reals, inside.value)) if isinstance(inside, Region) else _opaque(found)
            value = self.value(parts[1])
            return Named(*name, value=inside if isinstance(value, Bracketed) and inside is not None else value)
        raise UnreadableError("relations of different kinds")

    def _equation(self, parts: list[list[Token]], signs: list[str]) -> Reading:
        name = _name(parts[0])
        if name is not None and len(parts) >= 2:
            if len(parts) == 2:
                other = _name(parts[1])
                value = self.value(parts[1])
                return (
                    Named(*other, value=self.value(parts[0]))
                    if other and not isinstance(value, Scalar | Words)
                    else Named(*name, value=value)
                )
            return Named(*name, value=self._chain([self.value(part) for part in parts[1:]], signs[1:]))
        if len(parts) == 2 and signs == ["="]:
            backwards = _name(parts[1])
            if backwards is not None and not _name(parts[0]):
                value = self.value(parts[0])
                return Named(*backwards, value=value)
            points = _names(parts[0])
            if points is not None:
                value = self.value(parts[1])
                if isinstance(value, Bracketed) and len(value.items) == len(points):
                    return Listing(tuple(Named(point, (), item) for point, item in zip(points, value.items, strict=True)))
                return Named(",".join(points), (), value)
            left, right = self.formula(parts[0]), self.formula(parts[1])
            if (left - right).free_symbols or left.atoms(sympy.Function) | right.atoms(sympy.Function):  # noqa: SIM102
                if not consistent(Scalar(left), Scalar(right)):
                    return Relation("=", left, right)
        return self._chain([self.value(part) for part in parts], signs)

    def _chain(self, values: list[Reading], signs: list[str]) -> Reading:
        """Return the value of ``a = b = c``: one of them if all agree."""
        first = values[0]
        for value, sign in zip(values[1:], signs, strict=True):
            agree = isinstance(first, Scalar) and isinstance(value, Scalar) and consistent(first, value, rounded=sign == "approx")
            if not (agree or (first == value and not isinstance(first, Scalar))):
                return Contradiction("its sides differ")
        return first

    def _inequality(self, parts: list[list[Token]], signs: list[str]) -> Reading:
        names = [_name(part) for part in parts]
        places = [place for place, name in enumerate(names) if name is not None and not name[1]]
        if len(places) == 1:
            bounds = {place: scalar(part, self.by) for place, part in enumerate(parts) if place != places[0]}
            if not any(bound.value.free_symbols for bound in bounds.values()):
                name = names[places[0]]
                assert name is not None
                region = read_sets.from_bounds(places[0], {place: bound.value for place, bound in bounds.items()}, signs)
                if region is not None:
                    return Region(name[0], region)
        if len(parts) == 2:
            left, right = self.formula(parts[0]), self.formula(parts[1])
            if not (left - right).free_symbols:
                raise UnreadableError("an inequality of numbers")
            return Relation(signs[0], left, right)
        if len(parts) == 3 and not places:
            raise UnreadableError("a chain of inequalities")
        return _opaque([token for part in parts for token in part] + [Token("op", sign) for sign in signs])

    def _set(self, found: list[Token]) -> Reading | None:
        found = read_sets.with_differences(found)
        joins = [token.text for _, token in split_points(found) if token.text in ("cup", "cap", "setminus")]
        if joins:
            parts = [self.value(part) for part in split(found, "cup", "cap", "setminus")]
            regions = [read_sets.as_region(part) for part in parts]
            if any(region is None for region in regions):
                return _opaque(found)
            value = regions[0].value  # pyright: ignore[reportOptionalMemberAccess]
            for join, region in zip(joins, regions[1:], strict=True):
                value = read_sets.JOINS[join](value, region.value)  # pyright: ignore[reportOptionalMemberAccess]
            return Region(None, value)
        if found[0] == Token("cmd", "empty", found[0].spaced) and len(found) == 1:
            return Region(None, sympy.S.EmptySet)
        if found[0].kind != "open" and any(token.kind == "cmd" and token.text.startswith("set ") for token in found):
            return read_sets.number_set(found) or _opaque(found)
        return None

    def _bracketed(self, found: list[Token]) -> Reading | None:
        first, last = found[0], found[-1]
        if first.kind != "open" or first.text == "{" or matching(found, 0) != len(found) - 1:
            return None
        inside = found[1:-1]
        if first.text == "lbrace":
            return self._braces(inside, found)
        if first.text not in ("(", "[", "langle"):
            return None
        parts = split(inside, ",", ";")
        if len(parts) == 1 and first.text != "langle":
            if first.text == last.text.replace(")", "(").replace("]", "["):
                content = self.value(inside)
                if first.text == "[" and isinstance(content, Scalar) and content.value.free_symbols:
                    return Bracketed("[", "]", (content,))  # it may mean the whole part
                return content
            return None
        items = tuple(self.value(part) for part in parts)
        return Bracketed("(" if first.text == "langle" else first.text, ")" if last.text == "rangle" else last.text, items)

    def _braces(self, inside: list[Token], whole: list[Token]) -> Reading:
        if not inside:
            return Region(None, sympy.S.EmptySet)
        bar = next((place for place, token in split_points(inside) if token.text in ("mid", "|", ":")), None)
        if bar is None:
            content = self.value(inside)
            if isinstance(content, Listing):
                return SetOf(content.items)
            return SetOf((content,))
        head, condition = inside[:bar], inside[bar + 1 :]
        name = _name(split(head, "in")[0])
        if name is not None:
            try:
                region = gathered(self.value(condition))
            except UnreadableError:
                return _opaque(whole)
            if (
                isinstance(region, Named)
                and region.name == name[0]
                and len(split(head, "in")) == 1
                and isinstance(region.value, Listing | Scalar)
            ):
                return SetOf(region.value.items if isinstance(region.value, Listing) else (region.value,))
            if (
                isinstance(region, Region)
                and region.variable == name[0]
                and (len(split(head, "in")) == 1 or "set R" in {t.text for t in head})
            ):
                return Region(None, region.value)
            if isinstance(region, Named) and isinstance(region.value, Region) and region.name == name[0] and len(split(head, "in")) == 1:
                return region.value
        bound = _name(split(condition, "in")[0]) or name
        if bound is not None:  # its name does not matter
            whole = [Token("symbol", "bound") if token.text == bound[0] else token for token in whole]
        return _opaque(whole)

    def _plus_minus(self, found: list[Token]) -> Reading | None:
        if not any(token.kind == "op" and token.text in ("pm", "mp") for token in found):
            return None

        def chosen(upper: bool) -> Reading:
            signs = {"pm": "+" if upper else "-", "mp": "-" if upper else "+"}
            return self.value([Token("op", signs[t.text], t.spaced) if t.kind == "op" and t.text in signs else t for t in found])

        return Listing((chosen(True), chosen(False)), worded=True)


def _points(items: tuple[Reading, ...]) -> tuple[Reading, ...]:
    """Turn the assignments of ``(x, y) = (1, 2), (3, 4)`` into points."""
    if len(items) < 2 or not isinstance(items[0], Listing) or not all(isinstance(value, Named) for value in items[0].items):
        return items
    size = len(items[0].items)
    points: list[Reading] = []
    for item in items:
        if isinstance(item, Listing) and len(item.items) == size and all(isinstance(value, Named) for value in item.items):
            points.append(Bracketed("(", ")", tuple(value.value for value in item.items if isinstance(value, Named))))
        elif isinstance(item, Bracketed) and len(item.items) == size:
            points.append(item)
        else:
            return items
    return tuple(points)


def _without_labels(parts: list[list[Token]]) -> list[list[Token]]:
    """Remove the labels of parts, if every part has the next one: ``(a) 4, (b) 9``."""
    for labels in ("abcdefgh", ("i", "ii", "iii", "iv", "v"), "12345678"):
        ends = [_label_end(part, label) for part, label in zip(parts, labels, strict=False)]
        if len(parts) > 1 and len(ends) == len(parts) and all(ends):
            return [part[end:] for part, end in zip(parts, ends, strict=True)]
    return parts


def _label_end(part: Sequence[Token], label: str) -> int:
    """Return the place behind ``(a)`` if the part begins with it and goes on, else 0."""
    texts = [token.text.strip() for token in part[:4]]
    end = 1 if texts[:1] == [f"({label})"] else 3 if texts[:3] == ["(", label, ")"] else 0
    return end if end and len(part) > end and (end == 1 or part[end].spaced) else 0


def _parity(found: Sequence[Token]) -> Congruence | None:
    """Read ``n odd`` and ``n is even``; None if it is anything else."""
    said = [word for token in found[1:] for word in token.text.lower().split() if token.kind in ("words", "letters")]
    name = _name(found[:1]) if found[0].kind in ("letters", "symbol") else None
    if name is None or len(found) not in (2, 3) or said[-1:] not in (["odd"], ["even"]) or said[:-1] not in ([], ["is"]):
        return None
    return Congruence(symbol(name[0]), sympy.Integer(said[-1] == "odd"), sympy.Integer(2))


def _name(part: Sequence[Token]) -> tuple[str, tuple[str, ...]] | None:
    """Return the name and its arguments, if that is all there is: ``x``, ``a_1``, ``f(x)``, ``AB``, ``the area``; else None."""
    part = trimmed(part)
    if not part:
        return None
    if all(token.kind in ("words", "letters") and (token.kind == "words" or len(token.text) > 2) for token in part):
        return " ".join(token.text.strip().lower() for token in part), ()
    head, rest = part[0], part[1:]
    if head.kind == "symbol" and head.text in ("angle", "triangle") and len(rest) == 1 and rest[0].kind == "letters":
        return spelt(part), ()
    if head.kind == "cmd" and head.text.startswith("accent ") and len(rest) in (1, 3) and all(t.kind != "num" for t in rest):
        return spelt(part), ()
    if head.kind not in ("letters", "symbol") or (head.kind == "letters" and len(head.text) > 1 and not head.text.isupper()):
        return None
    if head.kind == "letters" and head.text in ("e", "i"):
        return None
    place = 0
    while place < len(rest) and rest[place].kind == "op" and rest[place].text in ("'", "_"):
        if rest[place].text == "_":
            place = matching(rest, place + 1) if rest[place + 1 : place + 2] and rest[place + 1].kind == "open" else place + 1
        place += 1
    name = head.text + ("_" if any(t.text == "_" for t in rest[:place]) else "") + spelt([t for t in rest[:place] if t.text != "_"])
    rest = rest[place:]
    if not rest:
        return name, ()
    if rest[0].text == "(" and matching(rest, 0) == len(rest) - 1:
        arguments = split(rest[1:-1], ",")
        if all(len(argument) == 1 and argument[0].kind in ("letters", "symbol") for argument in arguments):
            return name, tuple(argument[0].text for argument in arguments)
    return None


def _names(part: Sequence[Token]) -> list[str] | None:
    """Return the names of ``(x, y)``; None if it is anything else."""
    part = trimmed(part)
    if part[0].text != "(" or matching(part, 0) != len(part) - 1:
        return None
    names = [_name(item) for item in split(part[1:-1], ",")]
    if len(names) < 2 or any(name is None or name[1] for name in names):
        return None
    return [name[0] for name in names if name is not None]


def _mended_brackets(found: list[Token]) -> list[Token]:
    """Turn an interval's reversed brackets round: ``]1,2[`` is ``(1,2)``."""
    out = list(found)
    if out[0] == Token("close", "]", out[0].spaced):
        out[0] = Token("open", "(", out[0].spaced)
    if out[-1] == Token("open", "[", out[-1].spaced):
        out[-1] = Token("close", ")", out[-1].spaced)
    return out


def _condition(found: Sequence[Token]) -> str:
    """Return a condition as text, without the word if."""
    words = [token.text.strip(" ,").lower() for token in found]
    text = " ".join(word for word in words if word not in ("if", "for", "when", "", ",", "{", "}"))
    return text.removeprefix("if ").removeprefix("for ").removeprefix("when ").replace("x odd", "x is odd")


def _opaque(found: Sequence[Token]) -> Opaque:
    return Opaque(
        tuple(token.text.replace(":", "mid") if token.text in (":", "|") else token.text for token in found if token.text not in "{}")
    )
