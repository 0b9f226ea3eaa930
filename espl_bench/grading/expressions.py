r"""Read a formula: tokens to a sympy expression, by recursive descent. Whatever is not understood is `UnreadableError`.

Letters are real numbers, except ``e`` and ``i``, which are the constants unless a sum binds them. Letters that stand together are a
product; a letter in bold or with an accent is another letter. Names, commands and functions are read in modules of their own.
"""

from collections.abc import Sequence
from typing import Any

from espl_bench.grading.conventions import USUAL, Conventions
from espl_bench.grading.formula_commands import command, fraction_argument
from espl_bench.grading.formula_cursor import FormulaCursor
from espl_bench.grading.formula_names import choose_before, greek, indexed, letters
from espl_bench.grading.functions import exact_number, sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.token_runs import split_points


def expression(tokens: Sequence[Token], by: Conventions = USUAL) -> Any:
    """Read all tokens as one formula. Raises UnreadableError."""
    reader = _Formula(tokens, by)
    found = reader.formula()
    reader.finish()
    return found


class _Formula(FormulaCursor):
    """The grammar: sums of products of factors."""

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
            while self.continues():  # 1/2 x
                value = value * self.factor()
        return value

    def factors(self, after_slash: bool = False) -> Any:
        """Read factors that stand together; after a slash only one, unless the slash is tight."""
        mixed = self._mixed_number()
        value = self.factor() if mixed is None else mixed
        while self.continues() and (not after_slash or self.by.tight):
            value = value * self.factor()
        return value

    def continues(self) -> bool:
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
            top, bottom = fraction_argument(self), fraction_argument(self)
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

    def primary(self, single: bool = False) -> Any:
        token = self.now
        if token.kind == "num":
            if self.at + 1 < len(self.tokens) and self.tokens[self.at + 1].text == "_" and not single:
                raise UnreadableError("a number with an index")
            self.at += 1
            return exact_number(token.text)
        if token.kind == "letters":
            return letters(self, single)
        if token.kind == "symbol":
            return greek(self, single)
        if token.kind == "open":
            return self._bracket()
        if token.kind == "op" and token.text == "|" and not self.bars:
            return self._absolute()
        if token.kind == "op" and token.text in ("^", "_"):
            return choose_before(self)
        if token.kind == "cmd":
            self.at += 1
            return command(self, token.text)
        raise UnreadableError(f"'{token.text}'" if token.text else "something is missing")

    def _absolute(self) -> Any:
        self.at += 1
        self.bars += 1
        value = self.sum()
        if not self.take("op", "|"):
            raise UnreadableError("a bar that is not closed")
        self.bars -= 1
        return sympy.Abs(value)

    def _bracket(self) -> Any:
        opening = self.now.text
        if opening == "{" and self.at + 2 < len(self.tokens) and self.tokens[self.at + 1].text == "}":
            self.at += 2
            return choose_before(self)
        content = self.group()
        if opening in ("lbrace", "langle"):
            raise UnreadableError("a bracket of that kind")
        if opening == "{" and len(content) == 1 and content[0].kind == "letters":  # {n}_1
            return indexed(self, content[0].text) if len(content[0].text) == 1 else self.sub(content)
        value = self.sub(content)
        return {"lfloor": sympy.floor, "lceil": sympy.ceiling}.get(opening, _unchanged)(value)


def _unchanged(value: Any) -> Any:
    return value
