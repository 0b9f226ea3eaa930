# ruff: noqa: SIM905  (tables of words)
"""Names within a formula: letters and symbols, with indices and primes, and what a name before a bracket is applied to.

Letters that stand together are a product; ``e`` and ``i`` are the constants unless a sum binds them.
"""

from typing import Any, Final

from espl_bench.grading.formula_cursor import FormulaCursor
from espl_bench.grading.formula_functions import function
from espl_bench.grading.functions import PLAIN_CONSTANTS, choose, symbol, sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.notation_tables import FUNCTIONS, SYMBOLS
from espl_bench.grading.token_runs import matching, spelt, split

_APPLIED: Final = frozenset("f g F G P Q Y T phi psi".split())
"""Letters that are functions when a bracket follows."""
_APPLIED_GREEK: Final = frozenset("phi psi sigma tau mu zeta Gamma Phi Psi".split())
_SPECIAL: Final[dict[str, Any]] = {"Gamma": sympy.gamma, "zeta": sympy.zeta}
_APPLIED_TO_ONE: Final = frozenset("h H y u v w p q".split())
"""Letters that are functions when a bracket with one letter or number follows."""
_LONGEST_PRODUCT: Final = 4
"""Letters that may stand together as a product; more are a word."""


def letters(cursor: FormulaCursor, single: bool) -> Any:
    """Read letters: a constant, a function, a product of names, or one name with its index or its arguments."""
    token = cursor.now
    run = token.text
    if run in PLAIN_CONSTANTS:
        cursor.at += 1
        return PLAIN_CONSTANTS[run]
    if run in FUNCTIONS and (len(run) > 2 or run in ("ln", "lg")):
        cursor.at += 1
        if (
            run == "log"
            and cursor.now.kind == "num"
            and not cursor.now.spaced
            and cursor.tokens[cursor.at + 1 : cursor.at + 2] == [Token("open", "(")]
        ):
            cursor.tokens.insert(cursor.at, Token("op", "_"))  # log2(3)
        return function(cursor, FUNCTIONS[run])
    if run == "sqrt":
        cursor.at += 1
        return sympy.sqrt(cursor.argument())
    if run in SYMBOLS and len(run) > 2:
        cursor.at += 1
        return indexed(cursor, run)
    if len(run) > _LONGEST_PRODUCT:
        raise UnreadableError(f"the word '{run}'")
    if len(run) > 1:  # the rest stays; the last letter takes an index or an exponent
        cursor.tokens[cursor.at] = Token("letters", run[1:])
        return _constant_or(cursor, run[0])
    cursor.at += 1
    if run in ("C", "P", "A") and not single and (chosen := _chosen(cursor, run)) is not None:
        return chosen
    if not single and cursor.now.kind == "open" and cursor.now.text == "(" and (run in _APPLIED or run in _APPLIED_TO_ONE):
        return _applied(cursor, run)
    return indexed(cursor, run, single)


def greek(cursor: FormulaCursor, single: bool) -> Any:
    """Read a name of one symbol, with its index or its arguments."""
    name = cursor.now.text
    cursor.at += 1
    before_bracket = not single and cursor.now.text == "("
    if before_bracket and name in _SPECIAL and (special := _special(cursor, name)) is not None:
        return special
    if before_bracket and name in _APPLIED_GREEK and matching(cursor.tokens, cursor.at) == cursor.at + 2:
        return sympy.Function(name)(cursor.sub(cursor.group()))
    return indexed(cursor, name)


def _special(cursor: FormulaCursor, name: str) -> Any | None:
    """Read the Gamma function of anything, and zeta of a whole number; None if it is a letter before a bracket."""
    content = cursor.tokens[cursor.at + 1 : matching(cursor.tokens, cursor.at)]
    if len(split(content, ",")) != 1:
        return None
    argument = cursor.sub(content)
    if name == "zeta" and not (argument.is_Integer and argument > 1):
        return None
    cursor.at += len(content) + 2
    return _SPECIAL[name](argument)


def _constant_or(cursor: FormulaCursor, letter: str) -> Any:
    if letter not in cursor.bound:
        if letter == "e":
            return sympy.E
        if letter == "i":
            return sympy.I
    return symbol(letter)


def _applied(cursor: FormulaCursor, name: str) -> Any:
    end = matching(cursor.tokens, cursor.at)
    content = cursor.tokens[cursor.at + 1 : end]
    if name in _APPLIED_TO_ONE and len(content) != 1:
        return symbol(name)
    cursor.at = end + 1
    return sympy.Function(name)(*[cursor.sub(part) for part in split(content, ",")])


def _chosen(cursor: FormulaCursor, name: str) -> Any | None:
    """Read ``C(10, 3)``, ``C_{10}^3``, ``C_n^2``, ``P_5^2`` and ``A_5^2``; None if it is only a letter."""
    at = cursor.at
    if cursor.now.text == "(" and name in ("C", "P"):
        content = split(cursor.group(), ",")
        if len(content) == 2 and all(len(part) == 1 and part[0].kind in ("num", "letters") for part in content):
            return choose(name, *[cursor.sub(part) for part in content])
    elif cursor.now.text == "^" and name == "C":  # C^3_{10}
        cursor.at += 1
        above = cursor.argument()
        if above.is_Integer and cursor.take("op", "_"):
            below = cursor.argument()
            if below.is_Integer:
                return choose(name, below, above)
    elif cursor.now.text == "_":
        cursor.at += 1
        below = cursor.argument()
        if cursor.take("op", "^"):
            above = cursor.argument()
            if (below.is_Integer and above.is_Integer) or (name == "C" and below.is_Symbol):
                return choose(name, below, above)
    cursor.at = at
    return None


def indexed(cursor: FormulaCursor, name: str, single: bool = False) -> Any:
    """Read the index and the primes of a name."""
    primes = 0
    index = ""
    while cursor.at_op("_", "'"):
        if cursor.now.text == "'":
            cursor.at += 1
            primes += 1
            continue
        if index or single:
            break
        index = _index(cursor)
    primes += _raised_prime(cursor)
    if not index and not primes:
        return _constant_or(cursor, name)
    full = f"{name}{'_' + index if index else ''}{chr(39) * primes}"
    if primes and cursor.now.kind == "open" and cursor.now.text == "(":
        return sympy.Function(full)(*[cursor.sub(part) for part in split(cursor.group(), ",")])
    return symbol(full)


def _index(cursor: FormulaCursor) -> str:
    cursor.at += 1
    if cursor.now.kind == "open":
        return spelt(cursor.group())
    index = cursor.now.text
    cursor.at += 1
    return index


def _raised_prime(cursor: FormulaCursor) -> bool:
    r"""Take ``^'`` or ``^{'}``, and return whether it was there."""
    following = cursor.tokens[cursor.at + 1 : cursor.at + 4]
    if cursor.now.text != "^" or not following or spelt(following).strip("{}") != "'":
        return False
    cursor.at = cursor.at + 2 if following[0].kind == "op" else matching(cursor.tokens, cursor.at + 1) + 1
    return True


def choose_before(cursor: FormulaCursor) -> Any:
    """Read ``^{10}C_3``: the number of ways to choose."""
    cursor.at += 1
    top = cursor.argument()
    name = cursor.now.text
    cursor.at += 1
    if name not in ("C", "P") or not cursor.take("op", "_"):
        raise UnreadableError("an index without a letter")
    return choose(name, top, cursor.argument())
