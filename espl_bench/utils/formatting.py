"""What every screen shares: how numbers are written, and how text that a model wrote is made harmless.

Principles and responses look like ``[G0] dax larger``, which rich would take for markup, and may hold control
characters that move a terminal's cursor. Whatever a model wrote goes through :func:`plain`.
"""

import unicodedata

from rich.text import Text

DASH = "–"
"""Stands where there is no value."""
_UNSHOWN = frozenset({"Cc", "Cf", "Cs"})
"""Unicode categories left out: control characters, invisible formatting (it can reorder a line) and lone surrogates."""


def clean(text: str) -> str:
    """The text without control characters; line breaks stay, tabs become spaces."""
    kept = (char for char in text.expandtabs(4) if char == "\n" or unicodedata.category(char) not in _UNSHOWN)
    return "".join(kept)


def plain(text: str, style: str = "") -> Text:
    """Foreign text as rich shows it: literally, without markup, emoji codes or control characters."""
    return Text(clean(text), style=style)


def percent(share: float | None) -> str:
    """``62.5 %``; a dash where there is none."""
    return DASH if share is None else f"{share * 100:.1f} %"


def points(share: float) -> str:
    """A share as percentage points without the sign of unit, for table cells: ``62.5``."""
    return f"{share * 100:.1f}"


def count(number: float) -> str:
    """Three digits and a unit: ``950``, ``1.23 k``, ``45.0 M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            scaled = number / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {unit}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """``42 s``, ``3.2 min``, ``1.5 h``: for results."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """``1:05`` or ``2:01:05``: for time that passes."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
