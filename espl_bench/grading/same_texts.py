"""Compare words, and formulas that are compared token by token."""

from espl_bench.grading.comparison import Comparison
from espl_bench.grading.readings import Opaque, Reading, Region, Scalar, Words
from espl_bench.grading.same_regions import same_set
from espl_bench.grading.worded_meanings import same_meaning, worded_set
from espl_bench.grading.worded_numbers import worded_number
from espl_bench.grading.words import same_words


def words(gold: Words, answer: Words, by: Comparison) -> bool:
    """Compare words."""
    return same_words(answer.text, gold.text) or same_meaning(answer.text, gold.text)


def words_any(words: Words, other: Reading, by: Comparison, swapped: bool) -> bool:
    """Compare words that name a number or a set with it."""
    if isinstance(other, Scalar) and other.decimals is None and not other.percent:
        return other.value == worded_number(words.text.strip(" ."))
    named = worded_set(words.text)
    return isinstance(other, Region) and named is not None and same_set(named, other.value)


def opaques(gold: Opaque, answer: Opaque, by: Comparison) -> bool:
    """Compare token by token."""
    return gold.tokens == answer.tokens
