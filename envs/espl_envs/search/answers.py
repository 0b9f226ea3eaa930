"""Compare short answers as SQuAD's evaluation does: exact match after normalisation, and F1 over words.

Normalisation: lower case, no punctuation, no articles (a, an, the), single blanks. Several answers may be right; the best counts. An
empty answer is never right. A true answer that normalisation would empty (the letter A) is compared without it.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Normalise a text for comparison."""
    return without_articles(text.lower().translate(_PUNCTUATION))


def without_articles(text: str) -> str:
    """Remove articles and repeated blanks from a text in lower case."""
    return " ".join(_ARTICLES.sub(" ", text).split())


def exact_match(given: str, truths: Sequence[str], normalise: Callable[[str], str] = normalised) -> bool:
    """Return True if an answer is one of the true ones."""
    pairs = (_pair(given, truth, normalise) for truth in truths)
    return any(ours == theirs != "" for ours, theirs in pairs)


def f1(given: str, truths: Sequence[str], normalise: Callable[[str], str] = normalised) -> float:
    """Return the best harmonic mean of precision and recall over the words of an answer and a true one; 0 to 1."""
    return max((_f1(*_pair(given, truth, normalise)) for truth in truths), default=0.0)


def _pair(given: str, truth: str, normalise: Callable[[str], str]) -> tuple[str, str]:
    """Return both sides as they are compared."""
    if compared := normalise(truth):
        return normalise(given), compared
    return given.strip().lower(), truth.strip().lower()


def _f1(given: str, truth: str) -> float:
    ours, theirs = given.split(), truth.split()
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0
