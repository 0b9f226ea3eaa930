"""Runs of tokens: which bracket closes which, and where a run is split."""

from collections.abc import Sequence

from espl_bench.grading.notation import CLOSERS, OPENERS, Token, UnreadableError


def matching(tokens: Sequence[Token], at: int) -> int:
    """Return the index of the bracket that closes the one at `at`. Raises UnreadableError."""
    depth = 0
    for place in range(at, len(tokens)):
        token = tokens[place]
        if token.kind == "open":
            depth += 1
        elif token.kind == "close":
            depth -= 1
            if not depth:
                if OPENERS[tokens[at].text] != token.text and "{" in (tokens[at].text, {"}": "{"}.get(token.text)):
                    break
                return place
    raise UnreadableError("a bracket that is not closed")


def split_points(tokens: Sequence[Token]) -> list[tuple[int, Token]]:
    """Return the operators outside all brackets and environments, with their places. Raises UnreadableError."""
    depth = 0
    found: list[tuple[int, Token]] = []
    for place, token in enumerate(tokens):
        if token.kind == "open" or (token.kind == "cmd" and token.text.startswith("begin ")):
            depth += 1
        elif (token.kind == "close" and token.text in CLOSERS) or (token.kind == "cmd" and token.text.startswith("end ")):
            depth -= 1
            if depth < 0:
                raise UnreadableError("a bracket that was not opened")
        elif not depth and token.kind == "op":
            found.append((place, token))
    if depth:
        raise UnreadableError("a bracket that is not closed")
    return found


def split(tokens: Sequence[Token], *signs: str) -> list[list[Token]]:
    """Split tokens at operators outside all brackets."""
    parts: list[list[Token]] = []
    begin = 0
    for place, token in split_points(tokens):
        if token.text in signs:
            parts.append(list(tokens[begin:place]))
            begin = place + 1
    return [*parts, list(tokens[begin:])]


def spelt(tokens: Sequence[Token]) -> str:
    """Return tokens as one canonical text, without braces."""
    return "".join(token.text for token in tokens if token.text not in "{}")
