"""Names: what an equation or an inequality gives a value."""

from collections.abc import Sequence

from espl_bench.grading.notation import Token
from espl_bench.grading.token_runs import matching, spelt, split
from espl_bench.grading.trimming import trimmed


def name_of(part: Sequence[Token]) -> tuple[str, tuple[str, ...]] | None:
    """Return the name and its arguments, if that is all there is: ``x``, ``a_1``, ``f(x)``, ``AB``, ``the area``; else None."""
    part = trimmed(part)
    if not part:
        return None
    if all(token.kind in ("words", "letters") and (token.kind == "words" or len(token.text) > 2) for token in part):
        return " ".join(token.text.strip().lower() for token in part), ()
    head, rest = part[0], part[1:]
    if head.kind == "symbol" and head.text in ("angle", "triangle") and len(rest) == 1 and rest[0].kind == "letters":
        return spelt(part), ()
    if head.kind == "cmd" and head.text.startswith("accent ") and len(rest) in (1, 3) and all(t.kind != "num" for t in rest):
        return spelt(part), ()
    if head.kind not in ("letters", "symbol") or (head.kind == "letters" and len(head.text) > 1 and not head.text.isupper()):
        return None
    if head.kind == "letters" and head.text in ("e", "i"):
        return None
    place = 0
    while place < len(rest) and rest[place].kind == "op" and rest[place].text in ("'", "_"):
        if rest[place].text == "_":
            place = matching(rest, place + 1) if rest[place + 1 : place + 2] and rest[place + 1].kind == "open" else place + 1
        place += 1
    name = head.text + ("_" if any(t.text == "_" for t in rest[:place]) else "") + spelt([t for t in rest[:place] if t.text != "_"])
    rest = rest[place:]
    if not rest:
        return name, ()
    if rest[0].text == "(" and matching(rest, 0) == len(rest) - 1:
        arguments = split(rest[1:-1], ",")
        if all(len(argument) == 1 and argument[0].kind in ("letters", "symbol") for argument in arguments):
            return name, tuple(argument[0].text for argument in arguments)
    return None


def names_of(part: Sequence[Token]) -> list[str] | None:
    """Return the names of ``(x, y)``; None if it is anything else."""
    part = trimmed(part)
    if part[0].text != "(" or matching(part, 0) != len(part) - 1:
        return None
    names = [name_of(item) for item in split(part[1:-1], ",")]
    if len(names) < 2 or any(name is None or name[1] for name in names):
        return None
    return [name[0] for name in names if name is not None]
