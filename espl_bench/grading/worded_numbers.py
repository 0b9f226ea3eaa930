# ruff: noqa: SIM905  (tables of words)
"""Numbers that are written in words: English and Chinese ones, as far as answers use them."""

from typing import Final

_SMALL: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS: Final = {word: 20 + 10 * place for place, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split())}
SMALL_NUMBERS: Final = {**{word: value for value, word in enumerate(_SMALL)}, **_TENS}
"""Names of one word, up to ninety."""
SCALES: Final = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
"""Words that multiply the number before them."""
_CHINESE_DIGITS: Final = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_CHINESE_TENS: Final = {"十": 10, "百": 100, "千": 1_000}
_MOST_WORDS: Final = 12


def worded_number(text: str) -> int | None:
    """Return the whole number that words name: ``sixteen``, ``one hundred and five``, ``negative three``, ``二十一``; None if none."""
    text = text.casefold().strip()
    if text and all(char in _CHINESE_DIGITS or char in _CHINESE_TENS for char in text):
        return _chinese(text)
    words = text.replace("-", " ").split()
    if len(words) > 1 and words[0] in ("negative", "minus"):
        number = worded_number(" ".join(words[1:]))
        return -number if number is not None and number >= 0 else None
    if not 0 < len(words) <= _MOST_WORDS:
        return None
    if words[0] == "a" and len(words) > 1 and words[1] in SCALES:
        words[0] = "one"
    elif words[0] == "hundred" and len(words) == 1:
        return 100
    return _english(words)


def _english(words: list[str]) -> int | None:
    """Add up thousands, hundreds, tens and ones, each at most once and in this order."""
    total, part, least = 0, 0, 10**15
    room = 1_000
    """What the next small number must be below."""
    for place, word in enumerate(words):
        if word == "and" and place and words[place - 1] in SCALES and place + 1 < len(words):
            continue
        if (small := SMALL_NUMBERS.get(word)) is not None:
            if small >= room or (small == 0 and len(words) > 1):
                return None
            part, room = part + small, 10 if small >= 20 else 1
        elif (scale := SCALES.get(word)) in (12, 100) and 0 < part < 100:
            part, room = part * scale, 100
        elif scale is not None and scale >= 1_000 and part > 0 and scale < least:
            total, part, least, room = total + part * scale, 0, scale, 1_000
        else:
            return None
    return total + part


def _chinese(text: str) -> int | None:
    """Read ``二十一``, ``一百零五`` and single digits."""
    total, digit, least = 0, None, 10_000
    for char in text:
        if char in _CHINESE_TENS:
            scale = _CHINESE_TENS[char]
            if scale >= least or digit == 0:
                return None
            total, digit, least = total + (1 if digit is None else digit) * scale, None, scale
        elif digit in (None, 0):
            digit = _CHINESE_DIGITS[char]
        else:
            return None
    return total + (digit or 0)
