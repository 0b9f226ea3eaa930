# ruff: noqa: SIM905  (tables of words)
"""Units: which words are units, and how they convert. A unit that is not in the table is a noun that is counted (5 apples)."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from espl_bench.grading.readings import Unit

_LENGTHS: Final = {
    "mm millimeter millimetre": Fraction(1, 1000),
    "cm centimeter centimetre": Fraction(1, 100),
    "dm decimeter decimetre": Fraction(1, 10),
    "m meter metre 米": Fraction(1),
    "km kilometer kilometre 千米 公里": Fraction(1000),
    "in inch inches": Fraction(254, 10_000),
    "ft foot feet": Fraction(3048, 10_000),
    "yd yard": Fraction(9144, 10_000),
    "mi mile": Fraction(1_609_344, 1000),
    "厘米": Fraction(1, 100),
    "nm nanometer": Fraction(1, 10**9),
    "μm micrometer micron": Fraction(1, 10**6),
}
_TIMES: Final = {
    "s sec second 秒": Fraction(1),
    "ms millisecond": Fraction(1, 1000),
    "min minute 分钟": Fraction(60),
    "h hr hour 小时": Fraction(3600),
    "day 天": Fraction(86_400),
    "week wk": Fraction(604_800),
}
_MASSES: Final = {
    "g gram gramme 克": Fraction(1),
    "mg milligram": Fraction(1, 1000),
    "kg kilogram 千克": Fraction(1000),
    "t ton tonne": Fraction(10**6),
    "lb pound-mass lbs": Fraction(45_359_237, 100_000),
    "oz ounce": Fraction(45_359_237, 1_600_000),
}
_OTHERS: Final = {
    "eur euro": "euro",
    "gbp pound": "pound",
    "yuan rmb cny 元": "yuan",
    "yen jpy 日元": "yen",
    "rupee inr rs": "rupee",
    "chf franc": "franc",
    "tk taka": "taka",
    "degree deg ° 度": "degree",
    "radian rad": "radian",
    "celsius °c": "celsius",
    "fahrenheit °f": "fahrenheit",
    "kelvin k": "kelvin",
    "newton n": "newton",
    "joule j": "joule",
    "watt w": "watt",
    "pascal pa": "pascal",
    "hertz hz": "hertz",
    "volt v": "volt",
    "ohm Ω": "ohm",
    "ampere amp": "ampere",
    "mole mol": "mole",
    "month mo": "month",
    "year yr 年 岁": "year",
    "unit 个 个单位": "unit",
}


def _names(keys: str) -> list[str]:
    return [name for word in keys.split() for name in ((word, f"{word}s", f"{word}es") if len(word) > 2 else (word,))]


_KNOWN: Final[dict[str, Unit]] = {
    **{name: Unit((("length", 1),), factor) for keys, factor in _LENGTHS.items() for name in _names(keys)},
    **{name: Unit((("time", 1),), factor) for keys, factor in _TIMES.items() for name in _names(keys)},
    **{name: Unit((("mass", 1),), factor) for keys, factor in _MASSES.items() for name in _names(keys)},
    **{name: Unit(((base, 1),)) for keys, base in _OTHERS.items() for name in _names(keys)},
    **{name: Unit((("dollar", 1),)) for name in _names("usd dollar us$ 美元")},
    **{name: Unit((("dollar", 1),), Fraction(1, 100)) for name in _names("cent ¢")},
    "hrs": Unit((("time", 1),), Fraction(3600)),
    "yrs": Unit((("year", 1),)),
    "mph": Unit((("length", 1), ("time", -1)), Fraction(1_609_344, 3_600_000)),
    "kmh": Unit((("length", 1), ("time", -1)), Fraction(10, 36)),
    "kph": Unit((("length", 1), ("time", -1)), Fraction(10, 36)),
    "l": Unit((("length", 3),), Fraction(1, 1000)),
    "liter": Unit((("length", 3),), Fraction(1, 1000)),
    "liters": Unit((("length", 3),), Fraction(1, 1000)),
    "litre": Unit((("length", 3),), Fraction(1, 1000)),
    "litres": Unit((("length", 3),), Fraction(1, 1000)),
    "ml": Unit((("length", 3),), Fraction(1, 10**6)),
    "acre": Unit((("length", 2),), Fraction(40_468_564_224, 10**7)),
    "acres": Unit((("length", 2),), Fraction(40_468_564_224, 10**7)),
}
BARE: Final = frozenset(
    name for name in _KNOWN if len(name) >= 3 and name.isascii() and name not in ("mol", "amp", "sec", "min", "wks", "rads")
) | {"cm", "km", "kg", "ft", "mph", "hr", "lb", "oz", "sec", "min", "mi", "mm", "mL", "usd", "eur", "gbp", "rmb", "cny"}
"""Units that are units without being set as text: single letters and products of two are not."""
_POWERS: Final = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cubed": 3, "cu": 3}
_FILLING: Final = frozenset(("of", "the", "in", "total", "each", "exactly", "about"))
_NO_NOUNS: Final = frozenset(
    "not no nor isn't is are was be wrong false or and to than less more least most million millions thousand thousands billion billions trillion "  # noqa: E501
    "hundred hundreds dozen dozens half percent percentage decrease loss below under above over between but if when unless except without "
    "any other plus minus times divided equals approximately roughly maybe almost nearly incorrect impossible undefined unknown negative "
    "base mod modulo am pm for where with since because so then odd even prime multiple multiples factor does do cannot isnt doesnt "
    "a.m p.m bc ad am. pm. ish root roots squared-root degrees-of-freedom pi log ln sin cos tan x y z zero one two three four five "
    "ago clock o'clock noon midnight factorial squared cubed fails excluded divides remainder tens modulo choose mod inverse reciprocal opposite cm-not six seven eight nine ten eleven twelve twenty first second-order third or-more th st nd rd".split()  # noqa: E501
) | frozenset(
    "halves thirds quarter quarters fourth fourths fifth fifths sixth sixths seventh sevenths eighth eighths ninth ninths tenth tenths "
    "hundredth hundredths thousandth thousandths millionth millionths twelfth twelfths score gross pair pairs percentile".split()
)
_MOST_WORDS: Final = 4


def product(factors: Sequence[tuple[Unit, int]]) -> Unit:
    """Multiply powers of units."""
    powers: dict[str, int] = {}
    factor = Fraction(1)
    for unit, power in factors:
        factor *= Fraction(unit.factor) ** power
        for base, exponent in unit.powers:
            powers[base] = powers.get(base, 0) + exponent * power
    return Unit(tuple(sorted((base, power) for base, power in powers.items() if power)), factor)


def known(word: str) -> Unit | None:
    """Return the unit of this name; None if there is none."""
    return _KNOWN.get(word.rstrip(".")) or _KNOWN.get(word.lower().rstrip("."))


def described(text: str) -> list[tuple[Unit, int]] | None:
    """Read words as a unit (``miles per hour``, ``square feet``) or as a noun that is counted; None if they are neither."""
    words = text.replace("/", " per ").replace("·", " ").replace("²", "^2").replace("³", "^3").replace("-", " ").lower().split()
    words = [word.strip(",;:()") for word in words if word.strip(".,;:()")]
    if words and words[-1] == "and":
        words.pop()
    if not words or len(words) > 2 * _MOST_WORDS:
        return None
    found: list[tuple[Unit, int]] = []
    nouns: list[str] = []
    sign, power = 1, 1
    raws = [raw.strip(",;:()") for raw in text.split()]
    for raw, word in zip(raws if len(raws) == len(words) else words, words, strict=True):
        name, _, exponent = word.partition("^")
        if word == "per":
            sign = -1
        elif word in _POWERS:
            if word.endswith("ed") and found:
                found[-1] = (found[-1][0], found[-1][1] * _POWERS[word])
            else:
                power = _POWERS[word]
        elif unit := known(raw if not exponent else name):
            found.append((unit, sign * power * (int(exponent) if exponent.isdecimal() else 1)))
            sign, power = 1, 1
        elif word in _FILLING:
            continue
        elif word.strip(".") in _NO_NOUNS or not all(char.isalpha() or char in "'." for char in word):
            return None
        else:
            nouns.append(word.rstrip("."))
    if len(nouns) > _MOST_WORDS:
        return None
    if nouns or not found:
        if not nouns:
            return None
        found.append((Unit(((" ".join(nouns), 1),)), sign))
    return found
