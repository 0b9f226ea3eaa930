r"""Decide whether an answer is the gold answer: as words if both are words, else as values, else token by token.

Nothing here raises for what a text holds. Formulas with signs that only math-verify knows (`KNOWN_TO_MATH_VERIFY`) are left to it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from espl_bench.grading.boxes import has_box, last_box
from espl_bench.grading.domains import parametrised
from espl_bench.grading.expressions import USUAL, Conventions, expression
from espl_bench.grading.functions import sympy
from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.read import is_words, read
from espl_bench.grading.readings import Congruence, Listing, Reading, Scalar
from espl_bench.grading.sameness import Tolerance, same
from espl_bench.grading.token_runs import split
from espl_bench.grading.trimming import LEAD_INS, cut, trimmed, unwrapped
from espl_bench.grading.worded_meanings import same_meaning
from espl_bench.grading.words import normalised, same_words

KNOWN_TO_MATH_VERIFY: Final = re.compile(r"\\(?:i{1,3}nt|oint|lim|det|operatorname|partial|nabla|liminf|limsup)(?![A-Za-z])|\\frac\s*\{d")
_COMMON_LOG: Final = re.compile(r"log_\{?10\}?|\\lg(?![a-z])")
_GROUPED: Final = re.compile(r"[0-9],[0-9]{3}")
_LABEL: Final = re.compile(
    r"^\s*(?:(?:the\s+)?(?:correct\s+|final\s+)?(?:option|choice|answer)(?:\s+is)?\s*:?\s+)?(?:\(\s*(?P<round>[A-Ja-j])\s*\)|\[\s*(?P<square>[A-Ja-j])\s*\]|(?P<marked>[A-Ja-j])\s*[.:)]|(?P<bare>[A-J]))"
    r"\s*(?P<rest>.*)$",
    re.DOTALL | re.IGNORECASE,
)
_FORMULA_SIGNS: Final = frozenset("=+^_<>\\*/|{}&~")
_MARKS: Final = re.compile(r"\\[,;:! ]|~|[{}$]|\\(?:left|right|quad|qquad)(?![A-Za-z])")
_RULED: Final = re.compile(r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mbox|boldsymbol)\s*\{([^{}]*)\}")
_NUMBERED: Final = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]+)?)\.\s+[A-Z][a-z]+(?:\s+[a-z]+){2}")
"""A gold answer that goes on in prose behind its number: ``9. Anya needs to climb one floor``."""
_PROSE: Final = re.compile(
    r"(?:The|This|These|It|An?)\s(?:(?!\b(?:is|are)\b)[^.])*\b(?:is|are)\s(?P<rest>(?:(?!\b(?:is|are)\b)[^.])+)\.?\s*"
)
"""A gold answer in prose, which is answered by what it says: ``The sequence is convergent.``"""
_BARE_LOG: Final = re.compile(r"log(?![_a-zA-Z0-9])")
_NATURAL_LOG: Final = re.compile(r"(?<![a-zA-Z])ln(?![a-zA-Z])|log_\{?e")
_TRAILING_CHOICE: Final = re.compile(r"(?<=\s)\(\s?(?P<letter>[A-J])\s?\)$")
_LONGEST_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a comparison."""

    equal: bool | None
    """None: one side holds signs that only math-verify knows."""
    why: str
    """Reason in one line, without quoting the answer."""
    readable: bool = True
    """False if the gold answer has no value."""
    empty: bool = False
    """True if there is nothing in the answer."""


@dataclass(frozen=True)
class Side:
    """A text, as tokens and as plain text."""

    text: str
    tokens: tuple[Token, ...] | None
    """None if it cannot be cut."""

    @property
    def words(self) -> bool:
        """True if it holds no mathematics."""
        return self.tokens is not None and is_words(self.tokens)

    @property
    def plain(self) -> str:
        """The text without styling."""
        return _MARKS.sub(" ", _RULED.sub(r" \1 ", unwrapped(self.text))).strip()


@lru_cache(maxsize=1024)
def side_of(text: str) -> Side:
    """Cut a text."""
    try:
        return Side(text, cut(text))
    except UnreadableError:
        return Side(text, None)


def decide(gold: str, answer: str, allowed: Tolerance) -> Verdict:
    """Compare two texts."""
    if (prose := _NUMBERED.match(gold)) is not None:
        gold = prose[1]
    ours, theirs = side_of(gold), side_of(answer)
    if (said := _PROSE.fullmatch(ours.plain)) is not None and theirs.words and same_words(theirs.plain, said["rest"]):
        return Verdict(True, "the words are what the gold answer says")
    if theirs.tokens == ():
        return Verdict(False, "the answer is empty", empty=True)
    if (chosen := _same_choice(ours, theirs)) is not None:
        return Verdict(chosen, "the choices are the same" if chosen else "the choices differ")
    if ours.words and theirs.words and not any(isinstance(next(_readings(side), None), Congruence) for side in (ours, theirs)):
        equal = _same_text(ours, theirs)
        return Verdict(equal, "the words are the same" if equal else "the words differ")
    return _as_values(ours, theirs, allowed)


def shown(text: str) -> str:
    """Describe how a text is read, for people."""
    side = side_of(text)
    if side.words:
        return f"{' '.join(token.text.strip() for token in side.tokens or ())} (words)"
    reading = next(_readings(side), None)
    if reading is None:
        return f"{text.strip()[:_LONGEST_SHOWN]} (text, not parsed)"
    return f"{_told(reading)[:_LONGEST_SHOWN]} ({type(reading).__name__.lower()})"


def _told(reading: Any) -> str:
    """Return a reading's parts, each with what distinguishes it."""
    if isinstance(reading, Scalar):
        note = " percent" if reading.percent else "…" if reading.unfinished else " as a decimal" if reading.decimals is not None else ""
        return f"{reading.value}{note}"
    if isinstance(reading, tuple):
        return ", ".join(_told(part) for part in reading)  # pyright: ignore[reportUnknownVariableType]
    if hasattr(reading, "opening"):
        return f"{reading.opening}{_told(reading.items)}{reading.closing}"
    if hasattr(reading, "__dataclass_fields__"):
        parts = [getattr(reading, name) for name in reading.__dataclass_fields__]
        return "; ".join(_told(part) for part in parts if part not in (None, (), "") and part is not False)
    return str(reading)


def _as_values(ours: Side, theirs: Side, allowed: Tolerance) -> Verdict:
    golds, answers = _both_readings(ours, theirs)
    if any(isinstance(gold, Listing) for gold in golds):
        answers.extend(_ungrouped(theirs))
    if any(isinstance(gold, Scalar) and gold.value.has(sympy.zoo, sympy.nan) for gold in golds):
        return Verdict(False, "the gold answer has no value; correct the data", readable=False)
    for gold in golds:
        for answer in answers:
            if same(gold, answer, allowed):
                return Verdict(True, "they have the same value")
    if not answers and has_box(theirs.text) and (inside := last_box(theirs.text).answer) not in (None, theirs.text):
        return decide(ours.text, inside, allowed)
    if golds and answers:
        return Verdict(False, _difference(golds[0], answers[0]))
    if _same_tokens(ours, theirs):
        return Verdict(True, "they are written alike")
    unread = [side for side, found in ((ours, golds), (theirs, answers)) if not found]
    if any(KNOWN_TO_MATH_VERIFY.search(side.text) for side in unread) and not any(side.words for side in (ours, theirs)):
        return Verdict(None, "")
    which = "neither" if len(unread) == 2 else "the gold answer" if unread[0] is ours else "the answer"
    verb = "is" if len(unread) == 2 else "is not"
    return Verdict(False, f"{which} {verb} a formula that can be read, and the texts differ")


def _both_readings(ours: Side, theirs: Side) -> tuple[list[Reading], list[Reading]]:
    """Read both sides. The base of a logarithm, and the domain of a parameter, may stand on one side only."""
    if _BARE_LOG.search(ours.text) and _NATURAL_LOG.search(theirs.text):
        return ([*_readings(ours, ways=(Conventions(unknown_log=True),))], [*_readings(theirs)])
    common = _COMMON_LOG.search(ours.text) or _COMMON_LOG.search(theirs.text)
    ways = (USUAL, Conventions(common_log=True)) if common else (USUAL,)
    golds, answers = list(_readings(ours, ways)), list(_readings(theirs, ways))
    gold, answer = (parametrised(side.tokens or ()) for side in (ours, theirs))
    if gold is not None and answer is not None:
        if gold.domain == answer.domain:
            golds, answers = _read(gold.answer), _read(answer.renamed(gold.parameter))
    else:
        golds += _read(gold.answer) if gold else []
        answers += _read(answer.answer) if answer else []
    if ours.words != theirs.words:
        golds += _product(ours)
        answers += _product(theirs)
    return golds, answers


def _read(found: tuple[Token, ...]) -> list[Reading]:
    try:
        return [read(found)]
    except UnreadableError:
        return []


def _product(side: Side) -> list[Reading]:
    """Read two or three small letters as a product: only if the other side is a formula."""
    found = side.tokens or ()
    if not side.words or len(found) != 1 or found[0].kind != "letters" or not (found[0].text.islower() and 1 < len(found[0].text) < 4):
        return []
    return [Scalar(expression(found))]


def _difference(gold: Reading, answer: Reading) -> str:
    kinds = [type(side).__name__.lower() for side in (gold, answer)]
    if kinds[0] != kinds[1]:
        return f"the gold answer is of kind {kinds[0]}, the answer of kind {kinds[1]}, and they do not agree"
    return f"both are of kind {kinds[0]}, and they differ"


def _readings(side: Side, ways: tuple[Conventions, ...] = (USUAL,)) -> Iterator[Reading]:
    """Yield the ways to read a text that are not refused: the usual one first."""
    if side.tokens is None:
        return
    tried = [(side.tokens, by) for by in ways]
    if any(token.text == "/" for token in side.tokens):
        tried.append((side.tokens, replace(ways[0], tight=True)))
    if (rest := _behind_label(side)) is not None:
        tried.append((rest, USUAL))
    for found, by in tried:
        try:
            reading = read(found, by)
        except UnreadableError:
            continue
        if isinstance(reading, Scalar) and reading.value.has(sympy.zoo, sympy.nan) and ":" in side.text:
            continue
        yield reading


def _ungrouped(side: Side) -> list[Reading]:
    """Read ``101,202`` as two numbers: only for a gold answer that is a list."""
    if not _GROUPED.search(side.text):
        return []
    try:
        return [read(cut(side.text, grouped=False))]
    except UnreadableError:
        return []


def _behind_label(side: Side) -> tuple[Token, ...] | None:
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


def _same_choice(ours: Side, theirs: Side) -> bool | None:
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


def _same_text(ours: Side, theirs: Side) -> bool:
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
    if len(word.strip()) == 1 or len(other.strip()) == 1:
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


def _pieces(found: tuple[Token, ...]) -> list[str]:
    """Return tokens without braces; letters are letters, together or not."""
    return [piece for token in found if token.text not in "{}" for piece in (token.text if token.kind == "letters" else (token.text,))]


def _same_tokens(ours: Side, theirs: Side) -> bool:
    """Compare what cannot be read: token by token, or as words if there is no sign of a formula."""
    if ours.tokens is not None and theirs.tokens is not None and _pieces(ours.tokens) == _pieces(theirs.tokens):
        return True
    plain = [side.plain for side in (ours, theirs)]
    if any(set(text) & _FORMULA_SIGNS for text in plain):
        return " ".join(plain[0].split()) == " ".join(plain[1].split())
    if not any(char.isalpha() for char in plain[0]) or any(not char.isprintable() for text in plain for char in text):
        return False
    return normalised(plain[0]) == normalised(plain[1]) != ""
