r"""Functions with what they are applied to: ``\sin^2 x``, ``\log_2(3)``, ``\max(a, b)``."""

from typing import Any, Final

from espl_bench.grading.formula_cursor import FormulaCursor
from espl_bench.grading.functions import SEVERAL_ARGUMENTS, apply, symbol, sympy
from espl_bench.grading.notation_tables import FUNCTIONS
from espl_bench.grading.token_runs import split

_INVERSES: Final = {name: f"arc{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc")}


def function(cursor: FormulaCursor, name: str) -> Any:
    """Read what a function with this name is applied to, with its exponent and base, and apply it."""
    power = None
    base = None
    while cursor.at_op("^", "_"):
        is_power = cursor.now.text == "^"
        cursor.at += 1
        if is_power:
            power = cursor.argument()
        else:
            base = cursor.argument()
    if power == -1 and name in _INVERSES:
        name, power = _INVERSES[name], None
    arguments = _arguments(cursor, name)
    if name == "log" and base is None and cursor.by.common_log:
        base = sympy.Integer(10)
    value = apply(name, base, arguments)
    if name == "log" and base is None and cursor.by.unknown_log:
        value = value * symbol("unknown_base")
    return value if power is None else value**power


def _arguments(cursor: FormulaCursor, name: str) -> list[Any]:
    """Read what a function is applied to: a bracket, or the factors that follow."""
    if cursor.now.kind == "open" and cursor.now.text in ("(", "[", "{"):
        return [cursor.sub(part) for part in split(cursor.group(), ",")]
    if name in SEVERAL_ARGUMENTS and cursor.now.text == "lbrace":
        return [cursor.sub(part) for part in split(cursor.group(), ",")]
    value = cursor.factor()
    while cursor.continues() and not (cursor.now.kind == "cmd" and cursor.now.text in FUNCTIONS.values()):
        value = value * cursor.factor()
    return [value]
