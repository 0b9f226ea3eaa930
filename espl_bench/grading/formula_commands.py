"""Commands within a formula: fractions, roots, sums, accents and determinants. Any other one is a function."""

from typing import Any

from espl_bench.grading.formula_cursor import FormulaCursor
from espl_bench.grading.formula_functions import function
from espl_bench.grading.formula_names import indexed
from espl_bench.grading.functions import exact_number, root, symbol, sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.token_runs import spelt, split, split_points


def command(cursor: FormulaCursor, name: str) -> Any:
    """Read what belongs to a command that was taken, and return its value."""
    if name == "frac":
        top = fraction_argument(cursor)
        return top / fraction_argument(cursor)
    if name == "binom":
        top = fraction_argument(cursor)
        return sympy.binomial(top, fraction_argument(cursor))
    if name == "sqrt":
        degree = 2
        if cursor.now.kind == "open" and cursor.now.text == "[":
            degree = cursor.sub(cursor.group())
        return root(cursor.argument(), degree)
    if name == "pi":
        return symbol(f"pi_{cursor.now.text}") if cursor.now.text == "_" else sympy.pi
    if name == "infty":
        return sympy.oo
    if name in ("sum", "prod"):
        return _series(cursor, name)
    if name.startswith("accent "):
        return _accented(cursor, name.removeprefix("accent "))
    if name.startswith("begin") and "vmatrix" in name:
        return _determinant(cursor)
    return function(cursor, name)


def _accented(cursor: FormulaCursor, accent: str) -> Any:
    if cursor.now.kind == "open":
        content = cursor.group()
    else:
        content = [cursor.now]
        cursor.at += 1
    if accent == "bar" and any(token.text in ("i", "+", "-") for token in content):
        return sympy.conjugate(cursor.sub(content))
    if any(token.kind not in ("letters", "symbol") and token.text not in ("_", "{", "}", "'") for token in content if token.kind != "num"):
        raise UnreadableError("an accent over a formula")
    if all(token.kind == "num" for token in content):
        return symbol(f"{accent}_{spelt(content)}")
    return indexed(cursor, f"{accent}_{spelt(content)}")


def _determinant(cursor: FormulaCursor) -> Any:
    depth, start = 1, cursor.at
    while depth:
        if cursor.now.kind == "end":
            raise UnreadableError("a matrix that is not closed")
        depth += cursor.now.text.startswith("begin ") - cursor.now.text.startswith("end ")
        cursor.at += 1
    rows = [row for row in split(cursor.tokens[start : cursor.at - 1], "newline") if row]
    return sympy.Matrix([[cursor.sub(cell) for cell in split(row, "&")] for row in rows]).det()


def _series(cursor: FormulaCursor, name: str) -> Any:
    if not cursor.take("op", "_"):
        raise UnreadableError(f"a {name} without a variable")
    below = split(cursor.group() if cursor.now.kind == "open" else [], "=")
    if len(below) != 2 or len(below[0]) != 1 or not cursor.take("op", "^"):
        raise UnreadableError(f"a {name} without limits")
    variable = below[0][0].text
    above = cursor.argument()
    end = next(
        (n for n, token in split_points(cursor.tokens) if n >= cursor.at and token.text in ("+", "-") and n > cursor.at), len(cursor.tokens)
    )
    body = cursor.sub(cursor.tokens[cursor.at : end], frozenset({variable}))
    cursor.at = end
    kind = sympy.Sum if name == "sum" else sympy.Product
    return kind(body, (symbol(variable), cursor.sub(below[1]), above)).doit()


def fraction_argument(cursor: FormulaCursor) -> Any:
    r"""Read an argument of ``\frac``: without braces it is one digit, one letter, or one command with its argument."""
    token = cursor.now
    if token.kind == "num" and token.text.isdecimal() and len(token.text) > 1:
        cursor.tokens[cursor.at] = Token("num", token.text[1:])
        return exact_number(token.text[0])
    return cursor.primary(single=True)
