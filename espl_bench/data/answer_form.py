"""Tell answers that are words from formulas and numbers, which alone have a value, and whole solutions from answers."""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

_COMMANDS: Final = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox|operatorname)\s*(?=\{)|\\[A-Za-z]+|[${}*_]")
_FIRST_WORD: Final = re.compile(r"\s*([^\W\d_]{3,})")
_WORD: Final = re.compile(r"[^\W\d_]{3,}")
_MATHEMATICAL: Final = re.compile(r"[\d=+/^<>|()\[\]−×÷√]|\\[A-Za-z]")
_SENTENCE_END: Final = re.compile(r"(?:[^\W\d_]{2}|[\d)\]}$%])[.!?][\"'”’)\]]?\s+(?=[A-Z\d$\\])|\n")
_LEAST_WORDS: Final = 10
"""Words of three letters and more from which on a text of several sentences is a solution. No short answer is so long."""
_FUNCTIONS: Final = frozenset(
    (
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "log",
        "exp",
        "max",
        "min",
        "mod",
        "gcd",
        "lcm",
        "det",
        "sqrt",
        "frac",
        "arcsin",
        "arccos",
        "arctan",
    )
)


def is_words(answer: str) -> bool:
    """Return True for an answer that begins with a word, or holds words and nothing of mathematics: ``Town 7``, ``J. R. Tolkien``."""
    bare = _COMMANDS.sub(" ", answer)
    first = _FIRST_WORD.match(bare)
    if first is not None:
        return first[1].lower() not in _FUNCTIONS
    return not _MATHEMATICAL.search(bare) and any(word.lower() not in _FUNCTIONS for word in _WORD.findall(bare))


def is_solution(answer: str) -> bool:
    """Return True for several sentences or lines of prose: how the answer is found, rather than the answer."""
    return _SENTENCE_END.search(answer.strip()) is not None and len(_WORD.findall(_COMMANDS.sub(" ", answer))) >= _LEAST_WORDS


def count_solutions(answers: Iterable[str]) -> int:
    """Return how many answers are whole solutions, in all of their spellings."""
    return sum(all(map(is_solution, _spellings(answer))) for answer in answers)


def count_words(answers: Iterable[str]) -> int:
    """Return how many answers are words; of several spellings, stored as a JSON list, the first counts."""
    return sum(is_words(_spellings(answer)[0]) for answer in answers)


def _spellings(answer: str) -> list[str]:
    try:
        spellings: Any = json.loads(answer) if answer.startswith('["') else None
    except ValueError:
        return [answer]
    return [str(spelling) for spelling in spellings] if spellings else [answer]
