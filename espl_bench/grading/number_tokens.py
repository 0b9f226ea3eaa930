"""Cut a number out of a text: thousands in groups, repeating decimals, exponents."""

import re
from typing import Final

_GROUPS: Final = r"(?:\{,\}|\\text\{,\}|,\\!\ ?|,|\\thinspace\ ?|\\[,:;!\ ]|\{\\[,:;!\ ]\}|\\?_|['~\ \u00a0\u2009\u202f’])"
_NUMBER: Final = re.compile(
    rf"""
    (?P<grouped>[0-9]{{1,3}}(?P<sep>{_GROUPS})[0-9]{{3}}(?:(?P=sep)[0-9]{{3}})*+(?![0-9])(?:\.[0-9]++)?)
  | (?P<plain>[0-9]++(?:\.[0-9]++)?|\.[0-9]++)
    """,
    re.VERBOSE,
)
_DIGITS: Final = re.compile(r"[0-9]++(?:\.[0-9]++)?")
_NEXT_ITEM: Final = re.compile(r",\s*+[0-9]")
_EXPONENT: Final = re.compile(r"[eE]([+-]?[0-9]{1,3})(?![0-9A-Za-z])")
_REPEATING: Final = re.compile(r"(?P<point>\.?)\\(?:overline|bar|dot)\s*+\{?\s*+(?P<again>[0-9]{1,30})\s*+\}?")


def number_at(text: str, at: int, grouped: bool, in_brackets: bool, in_list: bool) -> tuple[str, int]:
    """Return the number that begins at a digit, or at a point before one, and the place behind it.

    Args:
        text: the whole text.
        at: where the number begins.
        grouped: ``1,234`` may be one number.
        in_brackets: it stands within brackets, where a bare comma separates.
        in_list: it follows a number and a comma, so a bare comma separates, too.
    """
    match = _NUMBER.match(text, at)
    assert match is not None, "a digit always matches"
    number, end = match["plain"], match.end()
    if match["grouped"]:
        bare = match["sep"].lstrip("{").startswith(",") and not match["sep"].startswith(("{", ",\\"))
        listed = bare and (in_brackets or in_list or _NEXT_ITEM.match(text, end))
        if grouped and not listed:
            number = match["grouped"].replace(match["sep"], "")
        elif digits := _DIGITS.match(text, at):
            number, end = digits.group(), digits.end()
    if repeating := _REPEATING.match(text, end):
        if bool(repeating["point"]) != ("." in number):
            whole, _, once = number.partition(".")
            return f"{whole}.{once}({repeating['again']})", repeating.end()
    elif exponent := _EXPONENT.match(text, end):
        return f"{number}e{exponent[1]}", exponent.end()
    return number, end
