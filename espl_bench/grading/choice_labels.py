"""Labels of choices: ``(C)``, ``C.``, ``option C``, alone or before a value."""

import re
from typing import Final

from espl_bench.grading.notation import Token
from espl_bench.grading.side import Side
from espl_bench.grading.trimming import trimmed

_LABEL: Final = re.compile(
    r"^\s*(?:(?:the\s+)?(?:correct\s+|final\s+)?(?:option|choice|answer)(?:\s+is)?\s*:?\s+)?(?:\(\s*(?P<round>[A-Ja-j])\s*\)|\[\s*(?P<square>[A-Ja-j])\s*\]|(?P<marked>[A-Ja-j])\s*[.:)]|(?P<bare>[A-J]))"
    r"\s*(?P<rest>.*)$",
    re.DOTALL | re.IGNORECASE,
)
_TRAILING_CHOICE: Final = re.compile(r"(?<=\s)\(\s?(?P<letter>[A-J])\s?\)$")


def same_choice(ours: Side, theirs: Side) -> bool | None:
    """Compare the letters of choices, if the gold answer is only a letter; None if this is no choice."""
    gold = _LABEL.match(ours.plain)
    if gold is None:
        return None
    if gold["rest"].strip(" ."):  # its text is compared, too; a letter alone is enough
        bare = _LABEL.match(theirs.plain)
        letters = [label["round"] or label["square"] or "" for label in (gold, bare) if label is not None]
        if len(letters) == 2 and all(letter.isupper() for letter in letters) and letters[0] != letters[1]:
            return False
        letter = None if gold["bare"] or bare is None or bare["rest"].strip(" .") else _choice(theirs)
        return letter == _choice(ours) if letter else None
    if (last := _TRAILING_CHOICE.search(theirs.plain)) is not None and _choice(theirs) is None:
        return last["letter"] == _choice(ours)
    letter, answer = _choice(ours), _choice(theirs)
    if letter is None or answer is None or letter == "I" or (gold["bare"] or "A").islower():
        return None
    bare = _LABEL.match(theirs.plain)
    if bare is not None and bare["bare"] and bare["bare"].islower() and letter not in "ABCDE":
        return None
    return letter == answer


def behind_label(side: Side) -> tuple[Token, ...] | None:
    r"""Return what stands behind the label of a choice: the 12 of ``\textbf{(C)}\ 12``."""
    label = _LABEL.match(side.plain)
    if label is None or label["bare"] or not label["rest"].strip():
        return None
    found = list(side.tokens or ())
    if found and found[0].kind == "words" and (head := _LABEL.match(found[0].text)) and not head["rest"].strip():
        return tuple(trimmed(found[1:]))
    place = next((n for n, token in enumerate(found) if token.text in (")", ".", ":", "]")), None)
    return tuple(trimmed(found[place + 1 :])) if place is not None and place <= 2 else None


def _choice(side: Side) -> str | None:
    """Return the letter if the text is the label of a choice, perhaps with its text; None if it is not."""
    label = _LABEL.match(side.plain)
    if label is None:
        return None
    letter = label["round"] or label["square"] or label["marked"] or label["bare"]
    rest = label["rest"].strip(" .")
    if label["bare"] and rest:
        return None
    return letter.upper()
