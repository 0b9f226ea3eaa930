"""Cells of CSV files: a spreadsheet computes what begins like a formula, and names come from whoever made a run."""

from collections.abc import Sequence

from espl_bench.utils.terminal_text import clean

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that a spreadsheet takes for a formula."""


def csv_cells(row: Sequence[object]) -> list[object]:
    """Return a row without control characters, and with an apostrophe before text that a spreadsheet would compute; numbers stay."""
    return [_csv_text(cell) if isinstance(cell, str) else cell for cell in row]


def _csv_text(text: str) -> str:
    formula = text.startswith(_FORMULA) or clean(text).lstrip().startswith(_FORMULA)
    return f"'{clean(text)}" if formula else clean(text)
