r"""The domain of a parameter behind an answer: ``x = k\pi, k \in \mathbb{Z}``.

Who states the domain and who leaves it out give the same answer; two different domains do not, nor is a domain left out of an inequality.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from espl_bench.grading.notation import Token
from espl_bench.grading.token_runs import spelt

_ORDER: Final = ("<", ">", "<=", ">=", "!=", "in", "notin")
_BEFORE: Final = (
    "where",
    "for",
    "with",
    "for any",
    "for all",
    "for some",
    "when",
    "for integer",
    "for any integer",
    "for integers",
    "where integer",
)
_INTEGER: Final = (
    "is an integer",
    "is any integer",
    "integer",
    "any integer",
    "is integer",
    "an integer",
    "be an integer",
    "整数",
    "is an arbitrary integer",
)


@dataclass(frozen=True, slots=True)
class Parametrised:
    """An answer without the domain of its parameter."""

    answer: tuple[Token, ...]
    parameter: str
    domain: str
    """As it is written, in canonical form."""

    def renamed(self, parameter: str) -> tuple[Token, ...]:
        """Return the answer with another name of the parameter; as it is if it holds that name already."""
        if any(token.text == parameter for token in self.answer):
            return self.answer
        return tuple(Token(token.kind, parameter, token.spaced) if token.text == self.parameter else token for token in self.answer)


def parametrised(found: Sequence[Token]) -> Parametrised | None:
    """Cut off the domain of a parameter; None if there is none."""
    for place in range(len(found) - 2, 0, -1):
        begin = _begin(found, place)
        if not begin:
            continue
        tail = [token for token in found[begin:] if token.text not in "(){}"]
        domain = _domain(tail, found[begin - 1])
        answer = tuple(found[:place])
        if domain is None or any(token.text in _ORDER for token in answer) or tail[0].text not in _letters(answer):
            continue
        return Parametrised(answer, tail[0].text, domain)
    return None


def _begin(found: Sequence[Token], place: int) -> int:
    """Return the place behind a comma, a bracket or a word such as where; 0 if there is none of these here."""
    token = found[place]
    said = token.text.strip(" ,").lower()
    if token.kind == "op" and token.text in (",", ";"):
        follows = found[place + 1]
        return place + 2 if follows.kind in ("words", "letters") and follows.text.strip(" ,").lower() in _BEFORE else place + 1
    if token.kind == "open" and token.text == "(" and found[-1].text == ")":
        return place + 1
    return place + 1 if token.kind in ("words", "letters") and said in _BEFORE else 0


def _domain(tail: Sequence[Token], before: Token) -> str | None:
    if len(tail) < 1 or tail[0].kind != "letters" or len(tail[0].text) != 1:
        return None
    if len(tail) > 2 and tail[1].text == "in" and tail[2].text.startswith("set "):
        return spelt(tail[2:])
    said = " ".join(token.text.strip().lower() for token in tail[1:])
    if said in _INTEGER or (not said and "integer" in before.text.lower()):
        return "set Z"
    return None


def _letters(found: Sequence[Token]) -> str:
    return "".join(token.text for token in found if token.kind == "letters")
