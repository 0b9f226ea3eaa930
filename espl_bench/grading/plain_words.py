# ruff: noqa: SIM905  (tables of words)
"""Whether a text is words alone."""

from collections.abc import Sequence
from typing import Final

from espl_bench.grading.functions import PLAIN_CONSTANTS
from espl_bench.grading.notation import Token
from espl_bench.grading.notation_tables import FUNCTIONS

_GREEK: Final = frozenset("alpha beta gamma delta epsilon theta lambda mu rho sigma phi psi omega".split())
_MATHS_WORDS: Final = (
    frozenset(PLAIN_CONSTANTS)
    | _GREEK
    | {name for name in FUNCTIONS if len(name) == 3 or name == "ln"} - {"deg", "dim", "max", "min", "arg", "det"}
)
_ROMAN: Final = frozenset("IVXLCDM")


def is_words(found: Sequence[Token]) -> bool:
    """Return True if there is no operator, digit or command: words, or letters."""
    runs = [token for token in found if token.kind in ("words", "letters")]
    if not runs or any(token.kind == "letters" and token.text in _MATHS_WORDS for token in runs):
        return False
    if found[0].text == "-" or (
        len(runs) > 1 and any(token.text in ("-", "(", "'") for token in found) and not any(len(token.text.strip()) > 2 for token in runs)
    ):
        return False
    for before, token in zip((None, *found), found, strict=False):
        if (
            before is not None
            and token.text == "'"
            and (before.text == "'" or (before.kind == "letters" and len(before.text) == 1 and found[-1] is token))
        ):
            return False
        if before is not None and token.text == "(" and before.kind == "letters" and not token.spaced:
            return False
        if token.kind in ("open", "close"):
            if token.text not in "(){}":
                return False
        elif token.kind == "op":
            if token.text not in (",", ".", ";", ":", "'", "?", "and", "or") and not (token.text == "-" and not token.spaced):
                return False
        elif token.kind not in ("words", "letters"):
            return False
    return True


def may_be_product(found: Sequence[Token], capitals: bool = False) -> bool:
    """Return True for letters that are a product where a formula is expected: two or three small ones together, or up to four apart.

    `capitals`: also with capitals, unless they are a Roman numeral or may be a word, as ``Yes``.
    """
    if not found or any(token.kind != "letters" for token in found):
        return False
    if len(found) > 1:
        return len(found) < 5 and all(len(token.text) == 1 for token in found)
    letters = found[0].text
    return 1 < len(letters) < 4 and (letters.islower() or (capitals and not letters.istitle() and not set(letters) <= _ROMAN))
