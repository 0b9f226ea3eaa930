"""Ratios, times of day and dates."""

from collections.abc import Callable, Sequence
from typing import Final

from espl_bench.grading.notation import Token, UnreadableError
from espl_bench.grading.readings import Ratio, Reading, Words
from espl_bench.grading.token_runs import split, split_points
from espl_bench.grading.words import MONTHS

_HALVES: Final = {"am": "am", "a.m": "am", "pm": "pm", "p.m": "pm", "上午": "am", "下午": "pm", "noon": "", "": ""}


def date(found: Sequence[Token]) -> Words | None:
    """Read ``2020-05-14``, ``5/14/2020``, ``May 14, 2020`` and a span of years, ``1990-1995``; None if it is anything else."""
    if (named := _with_month(found)) is not None:
        return named
    texts = [token.text for token in found]
    numbers, signs = texts[::2], texts[1::2]
    if len(found) not in (3, 5) or len(set(signs)) != 1 or signs[0] not in ("-", "/") or any(token.spaced for token in found[1:]):
        return None
    if not all(token.kind == "num" and token.text.isdecimal() for token in found[::2]):
        return None
    if len(numbers) == 2:
        first, last = int(numbers[0]), int(numbers[1])
        return Words("-".join(numbers)) if signs[0] == "-" and 1500 <= first < last <= 2100 else None
    sizes = [len(number) for number in numbers]
    if sizes[0] == 4 and max(sizes[1:]) <= 2 and 1 <= int(numbers[1]) <= 12 and 1 <= int(numbers[2]) <= 31:
        return Words(f"{MONTHS[int(numbers[1]) - 1]} {int(numbers[2])} {numbers[0]}")
    if sizes[2] == 4 and max(sizes[:2]) <= 2 and signs[0] == "/" and max(int(number) for number in numbers[:2]) <= 31:
        return Words(" ".join(str(int(number)) for number in numbers))  # day and month, or month and day
    return None


def _with_month(found: Sequence[Token]) -> Words | None:
    """Read a date whose month is a word, with day and year in any order; None if it is anything else."""
    said = [token.text.strip().lower() for token in found if token.text not in (",", ".")]
    numbers = [text for text in said if text.isdecimal()]
    months = [text for text in said if text in MONTHS]
    if len(said) != 3 or len(months) != 1 or [len(number) > 2 for number in numbers] not in ([False, True], [True, False]):
        return None
    day, year = sorted(numbers, key=len)
    return Words(f"{months[0]} {int(day)} {year}") if len(year) == 4 and 1 <= int(day) <= 31 else None


def ratio(found: Sequence[Token], value: Callable[[Sequence[Token]], Reading]) -> Ratio | None:
    """Read ``1:2``, ``3:30 PM`` or ``1:2:3:…``; None if there is no colon."""
    if not any(token.text == ":" for _, token in split_points(found)):
        return _full_hour(found)
    half = ""
    last = found[-1]
    words = last.text.lower().replace(".", "").strip() if last.kind in ("words", "letters") else ""
    dotted = "".join(token.text.lower() for token in found[-4:] if token.kind in ("letters", "words") or token.text == ".").replace(".", "")
    bare = list(found)
    if words in _HALVES and words:
        half, bare = _HALVES[words], bare[:-1]
    elif dotted in ("am", "pm"):
        half = dotted
        while bare and bare[-1].kind != "num":
            bare.pop()
    elif words in ("hours", "hrs", "h", "o'clock"):
        bare = bare[:-1]
    if bare and bare[-1].text == "op":
        bare = bare[:-1]
    parts = split(bare, ":")
    if not all(parts):
        raise UnreadableError("a ratio without a side")
    minutes = None
    digits = [part[0].text for part in parts if len(part) == 1 and part[0].kind == "num" and part[0].text.isdecimal()]
    if len(digits) == len(parts) == 2 and len(digits[1]) == 2 and int(digits[1]) < 60 and len(digits[0]) <= 2 and int(digits[0]) <= 24:
        hours = int(digits[0])
        if half and 1 <= hours <= 12:
            hours = hours % 12 + (12 if half == "pm" else 0)
        minutes = hours * 60 + int(digits[1])
    elif half:
        raise UnreadableError("no time of day")
    return Ratio(tuple(value(part) for part in parts), minutes, half)


def _full_hour(found: Sequence[Token]) -> Ratio | None:
    """Read ``7 PM``; None if it is anything else."""
    half = "".join(token.text.lower().strip() for token in found[1:]).replace(".", "")
    if len(found) < 2 or found[0].kind != "num" or not found[0].text.isdecimal() or half not in ("am", "pm"):
        return None
    hours = int(found[0].text)
    return Ratio((), (hours % 12 + (12 if half == "pm" else 0)) * 60, half) if 1 <= hours <= 12 else None
