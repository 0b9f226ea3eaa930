"""Matrices, systems and functions by cases: what stands in an environment with rows."""

from collections.abc import Sequence
from typing import Any

from espl_bench.grading.functions import sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.read_relations import RELATIONS
from espl_bench.grading.reader import Reader
from espl_bench.grading.readings import Bracketed, Cases, Matrix, Reading, Scalar, Words
from espl_bench.grading.token_runs import spelt, split
from espl_bench.grading.trimming import trimmed


def table(reader: Reader, found: list[Token]) -> Reading | None:
    """Read an environment, perhaps with a factor before it; None if it is anything else."""
    if begin := _behind_factor(found):
        factor = sympy.Integer(-1) if begin == 1 and found[0].text == "-" else reader.formula(found[:begin])
        return _multiple(reader, factor, found[begin:])
    first, last = found[0], found[-1]
    if first.kind != "cmd" or not first.text.startswith("begin ") or last.text != first.text.replace("begin", "end"):
        return None
    kind = first.text.removeprefix("begin ")
    rows = [split(row, "&") for row in split(found[1:-1], "newline") if row]
    if kind == "vmatrix":
        return None
    if kind == "cases" and all(len(row) == 1 for row in rows):  # a system of equations
        return reader.value([token for row in rows for token in (Token("op", ","), *row[0])][1:])
    if kind == "cases":
        pairs = [(row[0], [token for part in row[1:] for token in part]) for row in rows]
        return Cases(tuple((reader.value(value), _condition(reader, condition)) for value, condition in pairs))
    if kind in ("array", "matrix") and len(rows) == len(rows[0]) == 1:
        return reader.value(rows[0][0])
    return Matrix(tuple(tuple(reader.value(cell) for cell in row) for row in rows))


def _behind_factor(found: list[Token]) -> int:
    """Return where a matrix begins that has a factor before it, else 0."""
    begin = next((place for place, token in enumerate(found) if token.kind == "cmd" and token.text.startswith("begin ")), 0)
    alone = not any(token.text in RELATIONS for token in found[:begin]) and found[-1].text == found[begin].text.replace("begin", "end")
    return begin if alone and found[begin].text.endswith("matrix") and "vmatrix" not in found[begin].text else 0


def _condition(reader: Reader, found: Sequence[Token]) -> Reading:
    """Read the condition of a case, without the word if; as text if it is no relation."""
    text = _said(found)
    bare = trimmed([token for token in found if token.text.strip(" ,").lower() not in ("if", "for", "when", "")])
    try:
        return reader.value(bare) if bare and any(token.text in RELATIONS for token in bare) else Words(text)
    except UnreadableError:
        return Words(text)


def _said(found: Sequence[Token]) -> str:
    """Return a condition as text, without the word if."""
    words = [token.text.strip(" ,").lower() for token in found]
    text = " ".join(word for word in words if word not in ("if", "for", "when", "", ",", "{", "}"))
    return text.removeprefix("if ").removeprefix("for ").removeprefix("when ").replace("x odd", "x is odd")


def transposed(reader: Reader, found: list[Token]) -> Reading | None:
    r"""Read a vector or matrix with ``^T``: a column for a point."""
    end = next((n for n in (len(found) - 2, len(found) - 4) if n > 0 and found[n].text == "^"), 0)
    if not end or spelt(found[end + 1 :]) not in ("T", "top", "t", "intercal") or found[end - 1].kind not in ("close", "cmd"):
        return None
    value = reader.value(found[:end])
    if isinstance(value, Bracketed) and (value.opening, value.closing) in (("(", ")"), ("[", "]")):
        return Matrix(tuple((item,) for item in value.items))
    if isinstance(value, Matrix) and len({len(row) for row in value.rows}) == 1:
        return Matrix(tuple(zip(*value.rows, strict=True)))
    return None


def _multiple(reader: Reader, factor: Any, found: list[Token]) -> Reading:
    """Read a number times a matrix."""
    matrix = table(reader, found)
    if not isinstance(matrix, Matrix) or not all(isinstance(cell, Scalar) for row in matrix.rows for cell in row):
        raise UnreadableError("a product with a matrix")
    return Matrix(tuple(tuple(Scalar(factor * cell.value) for cell in row if isinstance(cell, Scalar)) for row in matrix.rows))
