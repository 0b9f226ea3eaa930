"""Conventions by which a text that can be read in two ways is read."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Conventions:
    """How to read what is written in two ways."""

    tight: bool = False
    """``1/2x`` is ``1/(2x)``."""
    common_log: bool = False
    """``log`` without a base has the base 10."""
    unknown_log: bool = False
    """``log`` without a base has a base that is not known: only its ratios are."""


USUAL: Final = Conventions()
