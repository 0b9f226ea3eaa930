"""Compare short answers as SQuAD's evaluation does: exact match after normalisation, and F1 over words.

F1 is SQuAD's to the letter: lower case, no punctuation, no articles (a, an, the), single blanks. Exact match goes
beyond it for numbers, dashes, dates and styling, as `espl_bench.grading.words` says: 3.14 is not 314,
and 1939–1945 is 1939-1945. Several answers may be right; the best
counts. An empty answer is never right. A true answer that normalisation would empty (the letter A) is compared without it.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

from espl_bench.grading.words import same_words

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Normalise a text for comparison."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(given: str, truths: Sequence[str]) -> bool:
    """Return True if an answer is one of the true ones."""
    return any(same_words(given, truth) for truth in truths)


def f1(given: str, truths: Sequence[str]) -> float:
    """Return the best harmonic mean of precision and recall over the words of an answer and a true one; 0 to 1."""
    return max((_f1(*_compared(given, truth)) for truth in truths), default=0.0)


def _compared(given: str, truth: str) -> tuple[str, str]:
    """Return both sides as their words are counted."""
    if compared := normalised(truth):
        return normalised(given), compared
    return given.strip().lower(), truth.strip().lower()


def _f1(given: str, truth: str) -> float:
    ours, theirs = given.split(), truth.split()
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0
