"""Lists without brackets: values joined by commas, words or a plus-minus sign."""

from collections.abc import Callable, Sequence
from typing import Any

from espl_bench.grading.functions import sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.plain_words import is_words
from espl_bench.grading.reader import Reader
from espl_bench.grading.readings import Bracketed, Listing, Named, Reading, Region
from espl_bench.grading.token_runs import split, split_points
from espl_bench.grading.trimming import without_lead


def listing(reader: Reader, found: list[Token]) -> Reading | None:
    """Read a list; None if there is no separator."""
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
    items = _points(tuple(reader.value(without_lead(part)) for part in _without_labels(parts)))
    regions = [item for item in items if isinstance(item, Region)]
    excluding = signs == {","} and any(token.text == "!=" for token in found)  # 1 < x < 3, x != 2
    if len(regions) == len(items) and len({item.variable for item in regions}) == 1 and (excluding or signs in ({"or"}, {"and"})):
        join: Callable[..., Any] = sympy.Union if signs == {"or"} else sympy.Intersection
        return Region(regions[0].variable, join(*[item.value for item in regions]))
    flat = [part for item in items for part in (item.items if isinstance(item, Listing) else (item,))]
    plain = signs <= {",", ";"} and not any(isinstance(item, Listing) and item.worded for item in items)
    return Listing(tuple(flat), worded=not plain) if len(flat) > 1 else flat[0]


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


def plus_minus(reader: Reader, found: list[Token]) -> Reading | None:
    """Read both values of a formula with a plus-minus sign; None if there is none."""
    if not any(token.kind == "op" and token.text in ("pm", "mp") for token in found):
        return None

    def chosen(upper: bool) -> Reading:
        signs = {"pm": "+" if upper else "-", "mp": "-" if upper else "+"}
        return reader.value([Token("op", signs[t.text], t.spaced) if t.kind == "op" and t.text in signs else t for t in found])

    upper, lower = chosen(True), chosen(False)
    return upper if upper == lower else Listing((upper, lower), worded=True)
