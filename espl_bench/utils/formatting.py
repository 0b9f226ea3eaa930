"""Formatting shared by all screens: numbers, and sanitized text that a model wrote.

Principles and responses look like ``[G0] dax larger``, which rich would take for markup, and may hold control characters that move a
terminal's cursor. All text from a model goes through :func:`plain`.
"""

from rich.text import Text

from espl_bench.utils.terminal_text import clean

DASH = "–"
"""Shown in place of a missing value."""


def plain(text: str, style: str = "") -> Text:
    """Show foreign text literally in rich, without markup, emoji codes or control characters."""
    return Text(clean(text), style=style)


def fixed(number: float, digits: int = 1) -> str:
    """Format a number with that many decimals, the only way in which cells are rounded: the nearest, and of two the even one.

    What rounds to zero has no sign. The page's `format.js` does the same.
    """
    text = f"{number:.{digits}f}"
    return text if float(text) else text.removeprefix("-")


def percent(share: float | None) -> str:
    """Format a share as ``62.5 %``; a dash if it is None."""
    return DASH if share is None else f"{points(share)} %"


def points(share: float) -> str:
    """Format a share as percentage points without a unit, for table cells: ``62.5``."""
    return fixed(share * 100)


def signed_points(share: float) -> str:
    """Format a difference of shares in percentage points with its sign, which it keeps where it rounds to zero: ``-0.0``."""
    return f"{'-' if share < 0 else '+'}{fixed(abs(share) * 100)}"


def p_value(p: float) -> str:
    """Format a p-value with three decimals: ``0.042``; one that would look like 0 as ``< 0.001``."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def count(number: float) -> str:
    """Format a number with three digits and a unit: ``950``, ``1.23 k``, ``45.0 M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            scaled = number / size
            return f"{fixed(scaled, 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0)} {unit}"
    return fixed(number, 0)


def duration(seconds: float) -> str:
    """Format a result's duration: ``42 s``, ``3.2 min``, ``1.5 h``."""
    if seconds < 60:
        return f"{fixed(seconds, 0)} s"
    return f"{fixed(seconds / 60)} min" if seconds < 7200 else f"{fixed(seconds / 3600)} h"


def clock(seconds: float) -> str:
    """Format elapsed time: ``1:05`` or ``2:01:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
