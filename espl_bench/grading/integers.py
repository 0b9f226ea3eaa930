r"""Compare integers exactly and as text: a million digits cost no more than reading them. Only short ones with a base are computed.

What counts as an integer: ASCII digits with an optional sign; leading zeros; thousands separated by commas or spaces, plain or
in LaTeX (``1,234``, ``1 234``, ``1{,}234``, ``1\,234``), always the same separator and always groups of three; zeros after a
decimal point; and around it all, ``$``, ``\(``, ``\[``, braces, asterisks, white space, and a full stop. Anything else, such as
``2^{10}``, ``1e3`` or other alphabets' digits, is for math-verify.
"""

import re
from typing import Final

_PAIRS: Final = (("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("{", "}"), ("*", "*"))
_MAX_WRAPPERS: Final = 8
_NUMBER = re.compile(
    r"""
    (?P<sign>[+\-−–]?)\s*+
    (?P<digits>
        [0-9]{1,3} (?P<separator>\{,\}|,\\!|\\[,:;!\ ]|[,~\ \u00a0\u2009\u202f]) [0-9]{3} (?:(?P=separator)[0-9]{3})*+
      | [0-9]++
    )
    (?:\.(?P<decimals>[0-9]*+))?
    """,
    re.VERBOSE,
)


_OTHER_GROUPS = re.compile(r"-?[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}|-?[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,}+")
"""Indian groups, and groups with full stops, of which there must be two: ``1.234`` is a decimal fraction."""
_BASED = re.compile(r"(?P<digits>[0-9][0-9A-Za-z]{0,99})\s*+_\s*+(?:\{\s*+(?P<braced>[0-9]{1,2})\s*+\}|(?P<bare>[0-9]{1,2}))")
_BASES: Final = range(2, 37)
"""Bases for which digits and letters suffice."""


def canonical(text: str) -> str | None:
    """Return an integer in canonical form, sign and digits; None if the text is not an integer."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return text.lstrip("0") or "0"
    match = _NUMBER.fullmatch(text) or _NUMBER.fullmatch(_unwrapped(text))
    if match is None or (match["decimals"] or "").strip("0"):
        return None
    digits = match["digits"]
    if match["separator"]:
        digits = digits.replace(match["separator"], "")
    digits = digits.lstrip("0") or "0"
    negative = match["sign"] in ("-", "−", "–") and digits != "0"
    return f"-{digits}" if negative else digits


def canonical_answer(text: str) -> str | None:
    """Return an integer as `canonical` does, also one in groups that mean something else where no integer is expected: ``12,34,567``."""
    found = canonical(text)
    if found is None and (match := _OTHER_GROUPS.fullmatch(_unwrapped(text))) is not None:
        found = canonical(re.sub(r"[.,]", "", match.group()))
    return found


def is_decimal_fraction(text: str) -> bool:
    """Return True for a number like an integer, but with more than zeros after its decimal point."""
    match = _NUMBER.fullmatch(_unwrapped(text))
    return match is not None and bool((match["decimals"] or "").strip("0"))


def value_in_base(text: str) -> int | None:
    """Return the value of ``2516_8`` or ``1F_{16}``: at most a hundred digits with their base; None for anything else."""
    match = _BASED.fullmatch(_unwrapped(text))
    if match is None or (base := int(match["braced"] or match["bare"])) not in _BASES:
        return None
    try:
        return int(match["digits"], base)
    except ValueError:  # a digit that the base does not have
        return None


def _unwrapped(text: str) -> str:
    """Remove delimiters around a number."""
    for _ in range(_MAX_WRAPPERS):
        before = len(text)
        text = text.removesuffix(".").strip()
        for left, right in _PAIRS:
            if len(text) >= len(left) + len(right) and text.startswith(left) and text.endswith(right):
                text = text[len(left) : -len(right)].strip()
        if len(text) == before:
            break
    return text
