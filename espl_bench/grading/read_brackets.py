"""Brackets and braces: points, intervals and sets."""

from typing import Any, Final

from espl_bench.grading import read_sets
from espl_bench.grading.assignments import gathered
from espl_bench.grading.comparison import MOST_ITEMS
from espl_bench.grading.functions import sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.read_names import name_of
from espl_bench.grading.reader import Reader, opaque
from espl_bench.grading.readings import Bracketed, Listing, Named, Reading, Region, Relation, Scalar, SetOf
from espl_bench.grading.token_runs import matching, split, split_points

_POINTS: Final = frozenset("ABDEHKMORSVW")
"""Letters of points: before a bracket, C and P choose, N and U are distributions, and others functions."""


def set_formula(reader: Reader, found: list[Token]) -> Reading | None:
    """Read unions and differences of sets, and letters for all numbers of a kind; None if it is anything else."""
    found = read_sets.with_differences(found)
    joins = [token.text for _, token in split_points(found) if token.text in ("cup", "cap", "setminus")]
    if joins:
        parts = [reader.value(part) for part in split(found, "cup", "cap", "setminus")]
        regions = [read_sets.as_region(part) for part in parts]
        if any(region is None for region in regions):
            return opaque(found)
        value = regions[0].value  # pyright: ignore[reportOptionalMemberAccess]
        for join, region in zip(joins, regions[1:], strict=True):
            value = read_sets.JOINS[join](value, region.value)  # pyright: ignore[reportOptionalMemberAccess]
        return Region(None, value)
    if found[0] == Token("cmd", "empty", found[0].spaced) and len(found) == 1:
        return Region(None, sympy.S.EmptySet)
    if found[0].kind != "open" and any(token.kind == "cmd" and token.text.startswith("set ") for token in found):
        return read_sets.number_set(found) or opaque(found)
    return None


def bracketed(reader: Reader, found: list[Token]) -> Reading | None:
    """Read what stands in one pair of brackets; None if it is anything else."""
    first, last = found[0], found[-1]
    if first.kind != "open" or first.text == "{" or matching(found, 0) != len(found) - 1:
        return None
    inside = found[1:-1]
    if first.text == "lbrace":
        return _braces(reader, inside, found)
    if first.text not in ("(", "[", "langle"):
        return None
    parts = split(inside, ",", ";")
    if len(parts) == 1 and first.text != "langle":
        if first.text == last.text.replace(")", "(").replace("]", "["):
            content = reader.value(inside)
            if first.text == "[" and isinstance(content, Scalar) and content.value.free_symbols:
                return Bracketed("[", "]", (content,))  # it may mean the whole part
            return content
        return None
    items = tuple(reader.value(part) for part in parts)
    return Bracketed("(" if first.text == "langle" else first.text, ")" if last.text == "rangle" else last.text, items)


def labelled_point(reader: Reader, found: list[Token]) -> Reading | None:
    """Read ``A(2, 5)``: a point with its name; None if it is anything else, or the letter may be a function."""
    if len(found) < 6 or found[0].kind != "letters" or found[0].text not in _POINTS or found[1] != Token("open", "(", found[1].spaced):
        return None
    if matching(found, 1) != len(found) - 1 or len(split(found[2:-1], ",")) not in (2, 3):
        return None
    point = bracketed(reader, found[1:])
    return None if point is None else Named(found[0].text, (), point)


def _braces(reader: Reader, inside: list[Token], whole: list[Token]) -> Reading:
    if not inside:
        return Region(None, sympy.S.EmptySet)
    bar = next((place for place, token in split_points(inside) if token.text in ("mid", "|", ":")), None)
    if bar is None:
        content = reader.value(inside)
        return SetOf(content.items if isinstance(content, Listing) else (content,))
    head, condition = inside[:bar], inside[bar + 1 :]
    name = name_of(split(head, "in")[0])
    if name is not None:
        try:
            described = gathered(reader.value(condition))
        except UnreadableError:
            return opaque(whole)
        if (found := _described(name[0], head, described)) is not None:
            return found
    bound = name_of(split(condition, "in")[0]) or name
    if bound is not None:  # its name does not matter
        whole = [Token("symbol", "bound") if token.text == bound[0] else token for token in whole]
    return opaque(whole)


def _described(name: str, head: list[Token], described: Reading) -> Reading | None:
    """Return the set of all values of a name, perhaps of one kind of numbers, that meet a condition; None if it is not known."""
    kinds = {token.text for token in head if token.text.startswith("set ")}
    anything = len(split(head, "in")) == 1
    if isinstance(described, Region) and described.variable == name:
        if anything or kinds == {"set R"}:
            return Region(None, described.value)
        return _whole_numbers(described.value) if kinds == {"set Z"} and len(head) == 3 else None
    if isinstance(described, Relation) and (anything or kinds == {"set R"}):
        solved = read_sets.solved(described, name)
        return None if solved is None else Region(None, solved)
    if not (isinstance(described, Named) and described.name == name and anything):
        return None
    value = described.value
    if isinstance(value, Listing | Scalar):
        return SetOf(value.items if isinstance(value, Listing) else (value,))
    return value if isinstance(value, Region) else None


def _whole_numbers(region: Any) -> SetOf | None:
    """Return the whole numbers of a bounded interval; None if it is none, or too long."""
    if not isinstance(region, sympy.Interval) or not (region.start.is_finite and region.end.is_finite) or region.measure > MOST_ITEMS:
        return None
    numbers = sympy.Range(sympy.ceiling(region.start), sympy.floor(region.end) + 1)
    return SetOf(tuple(Scalar(number) for number in numbers if region.contains(number) == True))  # noqa: E712  (sympy's)


def mended_brackets(found: list[Token]) -> list[Token]:
    """Turn an interval's reversed brackets round: ``]1,2[`` is ``(1,2)``."""
    out = list(found)
    if out[0] == Token("close", "]", out[0].spaced):
        out[0] = Token("open", "(", out[0].spaced)
    if out[-1] == Token("open", "[", out[-1].spaced):
        out[-1] = Token("close", ")", out[-1].spaced)
    return out
