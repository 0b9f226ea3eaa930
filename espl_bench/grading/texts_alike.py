"""Compare two sides as texts: as words, or token by token where there is no value."""

import re
from typing import Final

from espl_bench.grading.notation import Token
from espl_bench.grading.side import Side
from espl_bench.grading.token_runs import split
from espl_bench.grading.trimming import LEAD_INS, trimmed
from espl_bench.grading.worded_meanings import same_meaning
from espl_bench.grading.words import normalised, same_words

_SYMBOLS: Final = re.compile(r"[a-z]{1,2}[A-Z]{1,2}|[A-Z][a-z][A-Z]")
"""A few letters that no word has in this case: ``mV`` is not ``MV``."""
_FORMULA_SIGNS: Final = frozenset("=+^_<>\\*/|{}&~")


def same_text(ours: Side, theirs: Side) -> bool:
    """Compare words, or lists of words; single letters must be the same letters."""
    gold, answer = (trimmed(_without_lead(side.tokens or ())) for side in (ours, theirs))
    if _spelled(gold) == _spelled(answer) or same_meaning(ours.plain, theirs.plain):
        return True
    if all(len(_spelled(side).strip("(){}.")) == 1 for side in (gold, answer)):
        return False
    signs = (",", ";", "and", "or")
    parts = [[" ".join(token.text for token in part) for part in _parts(side, signs) if part] for side in (gold, answer)]
    if len(parts[0]) != len(parts[1]):
        return False
    left = list(parts[1])
    for word in parts[0]:
        place = next((n for n, other in enumerate(left) if _same_word(word, other)), None)
        if place is None:
            return False
        del left[place]
    return True


def _same_word(word: str, other: str) -> bool:
    if len(word.strip()) == 1 or len(other.strip()) == 1 or any(_SYMBOLS.fullmatch(text.strip()) for text in (word, other)):
        return word.strip() == other.strip()
    return same_words(other, word)


def _parts(found: list[Token], signs: tuple[str, ...]) -> list[list[Token]]:
    """Split at separators, also those within a text."""
    parts: list[list[Token]] = []
    for part in split(found, *signs):
        pieces: list[list[Token]] = [[]]
        for token in part:
            if token.kind == "words":
                first, *others = re.split(r"[,;]|\s(?:and|or|&)\s", token.text)
                pieces[-1].append(Token("words", first))
                pieces.extend([Token("words", other)] for other in others)
            else:
                pieces[-1].append(token)
        parts.extend(piece for piece in pieces if any(token.text.strip() for token in piece))
    return parts


def _without_lead(found: tuple[Token, ...]) -> list[Token]:
    for end in range(min(5, len(found) - 1), 0, -1):
        if " ".join(token.text.strip() for token in found[:end]).lower().strip(" :") in LEAD_INS and len(found[0].text) > 2:
            return list(found[end:])
    return list(found)


def _spelled(found: list[Token]) -> str:
    return "".join(token.text.strip() for token in found).replace(" ", "")


def same_tokens(ours: Side, theirs: Side) -> bool:
    """Compare what cannot be read: token by token, or as words if there is no sign of a formula."""
    if ours.tokens is not None and theirs.tokens is not None and _pieces(ours.tokens) == _pieces(theirs.tokens):
        return True
    plain = [side.plain for side in (ours, theirs)]
    if any(set(text) & _FORMULA_SIGNS for text in plain):
        return " ".join(plain[0].split()) == " ".join(plain[1].split())
    if not any(char.isalpha() for char in plain[0]) or any(not char.isprintable() for text in plain for char in text):
        return False
    return normalised(plain[0]) == normalised(plain[1]) != ""


def _pieces(found: tuple[Token, ...]) -> list[str]:
    """Return tokens without braces; letters are letters, together or not."""
    return [piece for token in found if token.text not in "{}" for piece in (token.text if token.kind == "letters" else (token.text,))]
