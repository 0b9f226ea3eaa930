# ruff: noqa: SIM905  (tables of words)
r"""Read a formula: tokens to a sympy expression, by recursive descent. Whatever is not understood is `UnreadableError`.

Letters are real numbers, except ``e`` and ``i``, which are the constants unless a sum binds them. Letters that stand together are a
product; a letter in bold or with an accent is another letter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from espl_bench.grading.functions import SEVERAL_ARGUMENTS, apply, choose, exact_number, root, symbol, sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.notation_tables import FUNCTIONS, SYMBOLS
from espl_bench.grading.token_runs import matching, spelt, split, split_points

_INVERSES: Final = {name: f"arc{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc")}
_APPLIED: Final = frozenset("f g F G P Q Y T phi psi".split())
"""Letters that are functions when a bracket follows."""
_APPLIED_GREEK: Final = frozenset("phi psi sigma tau mu zeta Gamma Phi Psi".split())
_SPECIAL: Final[dict[str, Any]] = {"Gamma": sympy.gamma, "zeta": sympy.zeta}
_APPLIED_TO_ONE: Final = frozenset("h H y u v w p q a b c s".split()) - {"a", "b", "c", "s"}
"""Letters that are functions when a bracket with one letter or number follows."""
PLAIN_CONSTANTS: Final[dict[str, Any]] = {"pi": sympy.pi, "infinity": sympy.oo, "infty": sympy.oo, "inf": sympy.oo, "oo": sympy.oo}
_MAX_DEPTH: Final = 60
_LONGEST_PRODUCT: Final = 4
"""Letters that may stand together as a product; more are a word."""


@dataclass(frozen=True, slots=True)
class Conventions:
    """How to read what is written in two ways."""

    tight: bool = False
    """``1/2x`` is ``1/(2x)``."""
    common_log: bool = False
    """``log`` without a base has the base 10."""
    unknown_log: bool = False
    """``log`` without a base has a base that is not known: only its ratios are."""


USUAL: Final = Conventions()


def expression(tokens: Sequence[Token], by: Conventions = USUAL) -> Any:
    """Read all tokens as one formula. Raises UnreadableError."""
    reader = _Formula(tokens, by)
    found = reader.formula()
    reader.finish()
    return found


class _Formula:
    """Cursor over tokens."""

    def __init__(self, tokens: Sequence[Token], by: Conventions, bound: frozenset[str] = frozenset(), depth: int = 0) -> None:
        if depth > _MAX_DEPTH:
            raise UnreadableError("it is nested too deeply")
        self.tokens = list(tokens)
        self.at = 0
        self.by = by
        self.bound = bound
        self.depth = depth
        self.bars = 0
        """Absolute values that are open."""

    @property
    def now(self) -> Token:
        return self.tokens[self.at] if self.at < len(self.tokens) else Token("end", "")

    def at_op(self, *texts: str) -> bool:
        """Return whether one of these operators comes next."""
        return self.now.kind == "op" and self.now.text in texts

    def finish(self) -> None:
        if self.at < len(self.tokens):
            raise UnreadableError(f"'{self.now.text}'")

    def sub(self, tokens: Sequence[Token], bound: frozenset[str] = frozenset()) -> Any:
        """Read other tokens as one formula."""
        inner = _Formula(tokens, self.by, self.bound | bound, self.depth + 1)
        found = inner.formula()
        inner.finish()
        return found

    def formula(self) -> Any:
        place = next((n for n, token in split_points(self.tokens) if token.text in ("over", "choose")), None)
        if place is None:
            return self.sum()
        top, bottom = self.sub(self.tokens[:place]), self.sub(self.tokens[place + 1 :])
        self.at = len(self.tokens)
        return top / bottom if self.tokens[place].text == "over" else sympy.binomial(top, bottom)

    def take(self, kind: str, text: str) -> bool:
        if self.now.kind == kind and self.now.text == text:
            self.at += 1
            return True
        return False

    def sum(self) -> Any:
        negative = False
        while self.now.kind == "op" and self.now.text in "+-":
            negative ^= self.now.text == "-"
            self.at += 1
        terms = [-self.product() if negative else self.product()]
        while self.at_op("+", "-"):
            negative = self.now.text == "-"
            self.at += 1
            while self.at_op("+", "-"):
                negative ^= self.now.text == "-"
                self.at += 1
            term = self.product()
            terms.append(-term if negative else term)
        return terms[0] if len(terms) == 1 else sympy.Add(*terms)

    def product(self) -> Any:
        value = self.factors()
        while self.at_op("*", "/", "bmod"):
            sign = self.now.text
            self.at += 1
            negative = False
            while self.at_op("+", "-"):
                negative ^= self.now.text == "-"
                self.at += 1
            right = self.factors(after_slash=sign == "/")
            right = -right if negative else right
            if sign == "*":
                value = value * right
            elif sign == "/":
                value = value / right
            else:
                value = sympy.Mod(value, right)
            while self._continues():  # 1/2 x
                value = value * self.factor()
        return value

    def factors(self, after_slash: bool = False) -> Any:
        """Read factors that stand together; after a slash only one, unless the slash is tight."""
        mixed = self._mixed_number()
        value = self.factor() if mixed is None else mixed
        while self._continues() and (not after_slash or self.by.tight):
            value = value * self.factor()
        return value

    def _continues(self) -> bool:
        """Return True if another factor stands here."""
        token = self.now
        if token.kind in ("letters", "symbol"):
            return True
        if token.kind == "cmd":
            return not token.text.startswith(("end", "money", "pmod", "modulo", "set"))
        if token.kind == "open":
            return token.text != "lbrace"
        if token.kind == "num":  # 2 5 means nothing, but (2)(3)5, 3!7! and 2^6 3^5 are clear
            before = self.tokens[self.at - 1] if self.at else token
            power = token.spaced and before.kind == "num" and self.at > 1 and self.tokens[self.at - 2].text == "^"
            return before.kind == "close" or before.text == "!" or power
        return token.kind == "op" and token.text == "|" and not self.bars

    def _mixed_number(self) -> Any | None:
        r"""Read ``2\frac{1}{2}`` or ``2 1/2``; None if it is something else."""
        tokens, at = self.tokens, self.at
        if self.now.kind != "num" or not self.now.text.isdecimal():
            return None
        whole = exact_number(self.now.text)
        rest = tokens[at + 1 :]
        if (
            len(rest) >= 3
            and rest[0].kind == "num"
            and rest[0].spaced
            and rest[1] == Token("op", "/", rest[1].spaced)
            and rest[2].kind == "num"
        ):
            top, bottom = rest[0].text, rest[2].text
            if top.isdecimal() and bottom.isdecimal() and int(top) < int(bottom):
                self.at += 4
                return whole + sympy.Rational(int(top), int(bottom))
        if rest and rest[0].kind == "cmd" and rest[0].text == "frac":
            self.at += 2
            top, bottom = self._fraction_argument(), self._fraction_argument()
            if all(part.is_Integer for part in (top, bottom)) and 0 < top < bottom:  # noqa: SIM102
                if not self.at_op("^", "!"):
                    return whole + top / bottom
            self.at = at
        return None

    def factor(self) -> Any:
        value = self.primary()
        while self.now.kind == "op":
            sign = self.now.text
            if sign == "^":
                self.at += 1
                value = value * sympy.pi / 180 if self._degrees() else value ** self.argument()
            elif sign == "deg":
                self.at += 1
                value = value * sympy.pi / 180
            elif sign == "!":
                self.at += 1
                double = self.at_op("!")
                self.at += double
                value = sympy.factorial2(value) if double else sympy.factorial(value)
            elif sign == "%":
                self.at += 1
                value = value / 100
            else:
                break
        return value

    def _degrees(self) -> bool:
        """Take a degree sign in an exponent."""
        for text in (("deg",), ("o",), ("{", "deg", "}"), ("{", "o", "}"), ("{", "{", "o", "}", "}")):
            end = self.at + len(text)
            if tuple(token.text for token in self.tokens[self.at : end]) == text:
                self.at = end
                return True
        return False

    def argument(self) -> Any:
        """Read an exponent or the argument of a root: a group, a bracket, or one token."""
        if self.at_op("-", "+"):
            negative = self.now.text == "-"
            self.at += 1
            return -self.argument() if negative else self.argument()
        return self.primary(single=True)

    def group(self) -> list[Token]:
        """Take a bracket with its content, and return the content."""
        end = matching(self.tokens, self.at)
        content = self.tokens[self.at + 1 : end]
        self.at = end + 1
        return content

    def _fraction_argument(self) -> Any:
        r"""Read an argument of ``\frac``: without braces it is one digit, one letter, or one command with its argument."""
        token = self.now
        if token.kind == "num" and token.text.isdecimal() and len(token.text) > 1:
            self.tokens[self.at] = Token("num", token.text[1:])
            return exact_number(token.text[0])
        return self.primary(single=True)

    def primary(self, single: bool = False) -> Any:
        token = self.now
        if token.kind == "num":
            if self.at + 1 < len(self.tokens) and self.tokens[self.at + 1].text == "_" and not single:
                raise UnreadableError("a number with an index")
            self.at += 1
            return exact_number(token.text)
        if token.kind == "letters":
            return self._letters(single)
        if token.kind == "symbol":
            self.at += 1
            if not single and token.text in _SPECIAL and self.now.text == "(" and (special := self._special(token.text)) is not None:
                return special
            if not single and token.text in _APPLIED_GREEK and self.now.text == "(" and matching(self.tokens, self.at) == self.at + 2:
                return sympy.Function(token.text)(self.sub(self.group()))
            return self._indexed(token.text)
        if token.kind == "open":
            return self._bracket()
        if token.kind == "op" and token.text == "|" and not self.bars:
            self.at += 1
            self.bars += 1
            value = self.sum()
            if not self.take("op", "|"):
                raise UnreadableError("a bar that is not closed")
            self.bars -= 1
            return sympy.Abs(value)
        if token.kind == "op" and token.text in ("^", "_"):
            return self._choose_before()
        if token.kind == "cmd":
            self.at += 1
            return self._command(token.text)
        raise UnreadableError(f"'{token.text}'" if token.text else "something is missing")

    def _bracket(self) -> Any:
        opening = self.now.text
        if opening == "{" and self.at + 2 < len(self.tokens) and self.tokens[self.at + 1].text == "}":
            self.at += 2
            return self._choose_before()
        content = self.group()
        if opening in ("lbrace", "langle"):
            raise UnreadableError("a bracket of that kind")
        if opening == "{" and len(content) == 1 and content[0].kind == "letters":  # {n}_1
            return self._indexed(content[0].text) if len(content[0].text) == 1 else self.sub(content)
        value = self.sub(content)
        return {"lfloor": sympy.floor, "lceil": sympy.ceiling}.get(opening, _unchanged)(value)

    def _choose_before(self) -> Any:
        """Read ``^{10}C_3``: the number of ways to choose."""
        self.at += 1
        top = self.argument()
        name = self.now.text
        self.at += 1
        if name not in ("C", "P") or not self.take("op", "_"):
            raise UnreadableError("an index without a letter")
        return choose(name, top, self.argument())

    def _letters(self, single: bool) -> Any:
        token = self.now
        run = token.text
        if run in PLAIN_CONSTANTS:
            self.at += 1
            return PLAIN_CONSTANTS[run]
        if run in FUNCTIONS and (len(run) > 2 or run in ("ln", "lg")):
            self.at += 1
            if (
                run == "log"
                and self.now.kind == "num"
                and not self.now.spaced
                and self.tokens[self.at + 1 : self.at + 2] == [Token("open", "(")]
            ):
                self.tokens.insert(self.at, Token("op", "_"))  # log2(3)
            return self._function(FUNCTIONS[run])
        if run == "sqrt":
            self.at += 1
            return sympy.sqrt(self.argument())
        if run in SYMBOLS and len(run) > 2:
            self.at += 1
            return self._indexed(run)
        if len(run) > _LONGEST_PRODUCT:
            raise UnreadableError(f"the word '{run}'")
        if len(run) > 1:  # the rest stays; the last letter takes an index or an exponent
            self.tokens[self.at] = Token("letters", run[1:])
            return self._constant_or(run[0])
        self.at += 1
        if run in ("C", "P", "A") and not single and (chosen := self._chosen(run)) is not None:
            return chosen
        if not single and self.now.kind == "open" and self.now.text == "(" and (run in _APPLIED or run in _APPLIED_TO_ONE):
            return self._applied(run)
        return self._indexed(run, single)

    def _special(self, name: str) -> Any | None:
        """Read the Gamma function of anything, and zeta of a whole number; None if it is a letter before a bracket."""
        content = self.tokens[self.at + 1 : matching(self.tokens, self.at)]
        if len(split(content, ",")) != 1:
            return None
        argument = self.sub(content)
        if name == "zeta" and not (argument.is_Integer and argument > 1):
            return None
        self.at += len(content) + 2
        return _SPECIAL[name](argument)

    def _constant_or(self, letter: str) -> Any:
        if letter not in self.bound:
            if letter == "e":
                return sympy.E
            if letter == "i":
                return sympy.I
        return symbol(letter)

    def _applied(self, name: str) -> Any:
        end = matching(self.tokens, self.at)
        content = self.tokens[self.at + 1 : end]
        if name in _APPLIED_TO_ONE and len(content) != 1:
            return symbol(name)
        self.at = end + 1
        return sympy.Function(name)(*[self.sub(part) for part in split(content, ",")])

    def _chosen(self, name: str) -> Any | None:
        """Read ``C(10, 3)``, ``C_{10}^3``, ``C_n^2``, ``P_5^2`` and ``A_5^2``; None if it is only a letter."""
        at = self.at
        if self.now.text == "(" and name in ("C", "P"):
            content = split(self.group(), ",")
            if len(content) == 2 and all(len(part) == 1 and part[0].kind in ("num", "letters") for part in content):
                return choose(name, *[self.sub(part) for part in content])
        elif self.now.text == "^" and name == "C":  # C^3_{10}
            self.at += 1
            above = self.argument()
            if above.is_Integer and self.take("op", "_"):
                below = self.argument()
                if below.is_Integer:
                    return choose(name, below, above)
        elif self.now.text == "_":
            self.at += 1
            below = self.argument()
            if self.take("op", "^"):
                above = self.argument()
                if (below.is_Integer and above.is_Integer) or (name == "C" and below.is_Symbol):
                    return choose(name, below, above)
        self.at = at
        return None

    def _indexed(self, name: str, single: bool = False) -> Any:
        primes = 0
        index = ""
        while self.at_op("_", "'"):
            if self.now.text == "'":
                self.at += 1
                primes += 1
                continue
            if index or single:
                break
            self.at += 1
            if self.now.kind == "open":
                index = spelt(self.group())
            else:
                index = self.now.text
                self.at += 1
        if self.now.text == "^" and self.at + 1 < len(self.tokens) and spelt(self.tokens[self.at + 1 : self.at + 4]).strip("{}") == "'":
            self.at = self.at + 2 if self.tokens[self.at + 1].kind == "op" else matching(self.tokens, self.at + 1) + 1
            primes += 1
        if not index and not primes:
            return self._constant_or(name)
        full = f"{name}{'_' + index if index else ''}{chr(39) * primes}"
        if primes and self.now.kind == "open" and self.now.text == "(":
            return sympy.Function(full)(*[self.sub(part) for part in split(self.group(), ",")])
        return symbol(full)

    def _command(self, name: str) -> Any:
        if name == "frac":
            top = self._fraction_argument()
            return top / self._fraction_argument()
        if name == "binom":
            top = self._fraction_argument()
            return sympy.binomial(top, self._fraction_argument())
        if name == "sqrt":
            degree = 2
            if self.now.kind == "open" and self.now.text == "[":
                degree = self.sub(self.group())
            return root(self.argument(), degree)
        if name == "pi":
            return symbol(f"pi_{self.now.text}") if self.now.text == "_" else sympy.pi
        if name == "infty":
            return sympy.oo
        if name in ("sum", "prod"):
            return self._series(name)
        if name.startswith("accent "):
            return self._accented(name.removeprefix("accent "))
        if name.startswith("begin") and "vmatrix" in name:
            return self._determinant()
        return self._function(name)

    def _accented(self, accent: str) -> Any:
        if self.now.kind == "open":
            content = self.group()
        else:
            content = [self.now]
            self.at += 1
        if accent == "bar" and any(token.text in ("i", "+", "-") for token in content):
            return sympy.conjugate(self.sub(content))
        if any(
            token.kind not in ("letters", "symbol") and token.text not in ("_", "{", "}", "'") for token in content if token.kind != "num"
        ):
            raise UnreadableError("an accent over a formula")
        if all(token.kind == "num" for token in content):
            return symbol(f"{accent}_{spelt(content)}")
        return self._indexed(f"{accent}_{spelt(content)}")

    def _determinant(self) -> Any:
        depth, start = 1, self.at
        while depth:
            if self.now.kind == "end":
                raise UnreadableError("a matrix that is not closed")
            depth += self.now.text.startswith("begin ") - self.now.text.startswith("end ")
            self.at += 1
        rows = [row for row in split(self.tokens[start : self.at - 1], "newline") if row]
        return sympy.Matrix([[self.sub(cell) for cell in split(row, "&")] for row in rows]).det()

    def _series(self, name: str) -> Any:
        if not self.take("op", "_"):
            raise UnreadableError(f"a {name} without a variable")
        below = split(self.group() if self.now.kind == "open" else [], "=")
        if len(below) != 2 or len(below[0]) != 1 or not self.take("op", "^"):
            raise UnreadableError(f"a {name} without limits")
        variable = below[0][0].text
        above = self.argument()
        end = next(
            (n for n, token in split_points(self.tokens) if n >= self.at and token.text in ("+", "-") and n > self.at), len(self.tokens)
        )
        body = self.sub(self.tokens[self.at : end], frozenset({variable}))
        self.at = end
        kind = sympy.Sum if name == "sum" else sympy.Product
        return kind(body, (symbol(variable), self.sub(below[1]), above)).doit()

    def _function(self, name: str) -> Any:
        power = None
        base = None
        while self.at_op("^", "_"):
            is_power = self.now.text == "^"
            self.at += 1
            if is_power:
                power = self.argument()
            else:
                base = self.argument()
        if power == -1 and name in _INVERSES:
            name, power = _INVERSES[name], None
        arguments = self._arguments(name)
        if name == "log" and base is None and self.by.common_log:
            base = sympy.Integer(10)
        value = apply(name, base, arguments)
        if name == "log" and base is None and self.by.unknown_log:
            value = value * symbol("unknown_base")
        return value if power is None else value**power

    def _arguments(self, name: str) -> list[Any]:
        """Read what a function is applied to: a bracket, or the factors that follow."""
        if self.now.kind == "open" and self.now.text in ("(", "[", "{"):
            return [self.sub(part) for part in split(self.group(), ",")]
        if name in SEVERAL_ARGUMENTS and self.now.text == "lbrace":
            return [self.sub(part) for part in split(self.group(), ",")]
        value = self.factor()
        while self._continues() and not (self.now.kind == "cmd" and self.now.text in FUNCTIONS.values()):
            value = value * self.factor()
        return [value]


def _unchanged(value: Any) -> Any:
    return value
